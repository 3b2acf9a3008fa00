package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTerraformBuckets(t *testing.T) {
	needTerraform(t)
	t.Parallel()
	s := ownServer(t, "fake")
	tf := configure(t, s, "buckets", nil)
	tf.apply("1", "14 added, 0 changed, 0 destroyed")
	tf.apply("2", "0 added, 8 changed, 0 destroyed")
	tf.destroy("2")
}

// asBoto3 is what boto3's own transfers do: parts both ways, and presigned
// URLs.
const asBoto3 = `
import boto3, io, os, sys, urllib.request
from botocore.config import Config
from boto3.s3.transfer import TransferConfig
s3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='test', aws_secret_access_key='test', config=Config(signature_version='s3v4'))
s3.create_bucket(Bucket='as-boto3')
data = os.urandom(13 << 20)
s3.upload_fileobj(io.BytesIO(data), 'as-boto3', 'dir/big', Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
out = io.BytesIO()
s3.download_fileobj('as-boto3', 'dir/big', out, Config=TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=3 << 20))
assert out.getvalue() == data
s3.copy({'Bucket': 'as-boto3', 'Key': 'dir/big'}, 'as-boto3', 'copy', Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=6 << 20))
url = s3.generate_presigned_url('get_object', Params={'Bucket': 'as-boto3', 'Key': 'copy'})
assert urllib.request.urlopen(url).read() == data
url = s3.generate_presigned_url('put_object', Params={'Bucket': 'as-boto3', 'Key': 'put'})
urllib.request.urlopen(urllib.request.Request(url, data=b'hello', method='PUT'))
print([(o['Key'], o['Size']) for p in s3.get_paginator('list_objects_v2').paginate(Bucket='as-boto3', PaginationConfig={'PageSize': 2}) for o in p['Contents']])
tagging = boto3.client('resourcegroupstaggingapi', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='test', aws_secret_access_key='test')
assert not tagging.tag_resources(ResourceARNList=['arn:aws:s3:::as-boto3'], Tags={'a': '1', 'b': '2'})['FailedResourcesMap']
assert not tagging.untag_resources(ResourceARNList=['arn:aws:s3:::as-boto3'], TagKeys=['b'])['FailedResourcesMap']
print([(r['ResourceARN'], r['Tags']) for r in tagging.get_resources(ResourceTypeFilters=['s3'])['ResourceTagMappingList']])
`

func TestBucketsFromBoto3(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	out, err := exec.CommandContext(t.Context(), "python3", "-c", asBoto3, "http://"+s.listen).CombinedOutput()
	if err != nil {
		if strings.Contains(string(out), "No module named") {
			t.Skip("boto3 is not installed")
		}
		t.Fatalf("%v\n%s", err, out)
	}
	const want = "[('copy', 13631488), ('dir/big', 13631488), ('put', 5)]\n[('arn:aws:s3:::as-boto3', [{'Key': 'a', 'Value': '1'}])]\n"
	if string(out) != want {
		t.Errorf("%s, want %s", out, want)
	}
}

func TestBucketsFromTheCommandLine(t *testing.T) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("the AWS CLI is not installed")
	}
	t.Parallel()
	s := ownServer(t, "fake")
	dir := t.TempDir()
	for name, content := range map[string]string{"a.txt": "a", "sub/b ü&.txt": strings.Repeat("b", 10<<20), "sub/c": ""} {
		path := filepath.Join(dir, "from", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := `set -e
aws s3 mb s3://from-cli
aws s3 sync --no-progress from s3://from-cli/dir
aws s3 ls --recursive s3://from-cli | awk '{print $3}'
aws s3 sync --no-progress s3://from-cli/dir to
diff -r from to
aws s3 sync --no-progress from s3://from-cli/dir
aws s3 mv --no-progress s3://from-cli/dir/a.txt s3://from-cli/moved
aws s3 cp --no-progress s3://from-cli/moved -
! aws s3 rb s3://from-cli 2>/dev/null
aws s3 rb --force s3://from-cli
aws s3 ls`
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL=http://"+s.listen, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_DEFAULT_REGION="+region)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{"make_bucket: from-cli", "\n1\n10485760\n0\n", "remove_bucket: from-cli"} {
		if !strings.Contains(string(out), line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
	if n := strings.Count(string(out), "upload:"); n != 3 {
		t.Errorf("%d uploads, though the second sync has nothing to do:\n%s", n, out)
	}
}
