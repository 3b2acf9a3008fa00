package s3_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/objects"
)

func TestBucketPolicies(t *testing.T) {
	w := newWorld(t)
	c, foreign, ctx := w.client("AKIAOWNER"), w.client("AKIAOTHER"), t.Context()
	w.bucket(c, "shared")
	w.put(c, "shared", "pub/a", "hello")
	b := aws.String("shared")
	put := func(statement string) string {
		_, err := c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: b, Policy: aws.String(policy(statement))})
		return outcome(err)
	}
	read := func(c *awss3.Client) string {
		got, code := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: aws.String("pub/a")})
		return got + code
	}
	_, err := c.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: b})
	if got := outcome(err); got != "NoSuchBucketPolicy" {
		t.Errorf("before there is one: %q", got)
	}
	const account = `"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/pub/*"`
	const everybody = `"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/pub/*"`
	for statement, want := range map[string]string{
		`"Effect":"Allow"`: "MalformedPolicy",
		`"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/*"`: "MalformedPolicy",
		`"Effect":"Allow","Principal":"*","Action":"ec2:RunTask","Resource":"arn:aws:s3:::shared/*"`: "MalformedPolicy",
		`"Effect":"Allow","Principal":"*","Action":"s3:GetObject"`:                                   "MalformedPolicy",
		`"Effect":"Allow","Sid":"` + strings.Repeat("x", 21<<10) + `"`:                               "MalformedPolicy",
		everybody: "AccessDenied", // public policies are blocked
		account:   "",
	} {
		if got := put(statement); got != want {
			t.Errorf("put %.100s: %q, want %q", statement, got, want)
		}
	}
	if got := put(account); got != "" {
		t.Fatal(got)
	}
	if got := read(foreign); got != "hello" {
		t.Errorf("who is let in: %q", got)
	}
	_, err = foreign.PutObject(ctx, &awss3.PutObjectInput{Bucket: b, Key: aws.String("pub/a"), Body: strings.NewReader("x")})
	if got := outcome(err); got != "AccessDenied" {
		t.Errorf("writes: %q", got)
	}
	status, err := c.GetBucketPolicyStatus(ctx, &awss3.GetBucketPolicyStatusInput{Bucket: b})
	if err != nil || *status.PolicyStatus.IsPublic {
		t.Errorf("%+v, %v", status, err)
	}
	block := func(policies, restrict bool) {
		t.Helper()
		if _, err := c.PutPublicAccessBlock(ctx, &awss3.PutPublicAccessBlockInput{Bucket: b, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicPolicy: &policies, RestrictPublicBuckets: &restrict,
		}}); err != nil {
			t.Fatal(err)
		}
	}
	block(false, true)
	if got := put(everybody); got != "" {
		t.Fatal(got)
	}
	if code, body := w.plainly(http.MethodGet, "/shared/pub/a", ""); code != http.StatusForbidden {
		t.Errorf("a restricted bucket: %d %s", code, body)
	}
	if got := read(foreign); got != "AccessDenied" {
		t.Errorf("a restricted bucket, another account: %q", got)
	}
	block(false, false)
	if got, err := c.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: b}); err != nil || *got.PublicAccessBlockConfiguration.RestrictPublicBuckets {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.DeletePublicAccessBlock(ctx, &awss3.DeletePublicAccessBlockInput{Bucket: b}); err != nil {
		t.Fatal(err)
	}
	_, err = c.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: b})
	if got := outcome(err); got != "NoSuchPublicAccessBlockConfiguration" {
		t.Errorf("%q", got)
	}
	for _, host := range []string{"", "s3.localhost", "s3.us-east-1.amazonaws.com"} {
		named := func(r *http.Request) {
			if host != "" {
				r.Host = host
			}
		}
		if code, body := w.plainly(http.MethodGet, "/shared/pub/a", "", named); code != http.StatusOK || body != "hello" {
			t.Errorf("anybody at %q: %d %s", host, code, body)
		}
	}
	if code, body := w.plainly(http.MethodGet, "/pub/a", "", func(r *http.Request) { r.Host = "shared.s3.localhost:4566" }); code != http.StatusOK || body != "hello" {
		t.Errorf("anybody at the bucket's host: %d %s", code, body)
	}
	if code, _ := w.plainly(http.MethodGet, "/shared/pub/none", ""); code != http.StatusForbidden {
		t.Errorf("anybody learns what is not there: %d", code)
	}
	if code, _ := w.plainly(http.MethodGet, "/shared/pub/a?response-content-type=x", ""); code != http.StatusBadRequest {
		t.Errorf("anybody changes headers: %d", code)
	}
	if code, _ := w.plainly(http.MethodDelete, "/shared/pub/a", ""); code != http.StatusForbidden {
		t.Errorf("anybody deletes: %d", code)
	}
	status, err = c.GetBucketPolicyStatus(ctx, &awss3.GetBucketPolicyStatusInput{Bucket: b})
	if err != nil || !*status.PolicyStatus.IsPublic {
		t.Errorf("%+v, %v", status, err)
	}
	// What a policy denies, it denies the account's users; its root undoes it.
	u := w.user("all", `"Effect":"Allow","Action":"s3:*","Resource":"*"`)
	if got := put(`"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::shared","arn:aws:s3:::shared/*"]`); got != "" {
		t.Fatal(got)
	}
	if got := read(u); got != "AccessDenied" {
		t.Errorf("who is denied: %q", got)
	}
	if _, err := c.DeleteBucketPolicy(ctx, &awss3.DeleteBucketPolicyInput{Bucket: b}); err != nil {
		t.Error(err)
	}
	if got := read(u); got != "hello" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "plain")
	b := aws.String("plain")
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"CORS":            {second(c.GetBucketCors(ctx, &awss3.GetBucketCorsInput{Bucket: b})), "NoSuchCORSConfiguration"},
		"website":         {second(c.GetBucketWebsite(ctx, &awss3.GetBucketWebsiteInput{Bucket: b})), "NoSuchWebsiteConfiguration"},
		"lifecycle":       {second(c.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: b})), "NoSuchLifecycleConfiguration"},
		"replication":     {second(c.GetBucketReplication(ctx, &awss3.GetBucketReplicationInput{Bucket: b})), "ReplicationConfigurationNotFoundError"},
		"object lock":     {second(c.GetObjectLockConfiguration(ctx, &awss3.GetObjectLockConfigurationInput{Bucket: b})), "ObjectLockConfigurationNotFoundError"},
		"tags":            {second(c.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: b})), "NoSuchTagSet"},
		"logging":         {second(c.GetBucketLogging(ctx, &awss3.GetBucketLoggingInput{Bucket: b})), ""},
		"notifications":   {second(c.GetBucketNotificationConfiguration(ctx, &awss3.GetBucketNotificationConfigurationInput{Bucket: b})), ""},
		"acceleration":    {second(c.GetBucketAccelerateConfiguration(ctx, &awss3.GetBucketAccelerateConfigurationInput{Bucket: b})), ""},
		"no CORS":         {second(c.DeleteBucketCors(ctx, &awss3.DeleteBucketCorsInput{Bucket: b})), ""},
		"no lifecycle":    {second(c.DeleteBucketLifecycle(ctx, &awss3.DeleteBucketLifecycleInput{Bucket: b})), ""},
		"no replication":  {second(c.DeleteBucketReplication(ctx, &awss3.DeleteBucketReplicationInput{Bucket: b})), ""},
		"no website":      {second(c.DeleteBucketWebsite(ctx, &awss3.DeleteBucketWebsiteInput{Bucket: b})), ""},
		"no encryption":   {second(c.DeleteBucketEncryption(ctx, &awss3.DeleteBucketEncryptionInput{Bucket: b})), ""},
		"no bucket":       {second(c.GetBucketCors(ctx, &awss3.GetBucketCorsInput{Bucket: aws.String("nobodys")})), "NoSuchBucket"},
		"another account": {second(w.client("AKIAOTHER").GetBucketCors(ctx, &awss3.GetBucketCorsInput{Bucket: b})), "AccessDenied"},
		"analytics":       {second(c.ListBucketAnalyticsConfigurations(ctx, &awss3.ListBucketAnalyticsConfigurationsInput{Bucket: b})), "NotImplemented"},
		"KMS":             {second(c.PutBucketEncryption(ctx, &awss3.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: encryption(types.ServerSideEncryptionAwsKms)})), "NotImplemented"},
		"AES":             {second(c.PutBucketEncryption(ctx, &awss3.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: encryption(types.ServerSideEncryptionAes256)})), ""},
		"writers own": {second(c.PutBucketOwnershipControls(ctx, &awss3.PutBucketOwnershipControlsInput{
			Bucket: b, OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipObjectWriter}}},
		})), "NotImplemented"},
	} {
		if got := outcome(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if e, err := c.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: b}); err != nil ||
		e.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm != types.ServerSideEncryptionAes256 {
		t.Errorf("%+v, %v", e, err)
	}
	if p, err := c.GetBucketRequestPayment(ctx, &awss3.GetBucketRequestPaymentInput{Bucket: b}); err != nil || p.Payer != types.PayerBucketOwner {
		t.Errorf("%+v, %v", p, err)
	}
	if v, err := c.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: b}); err != nil || v.Status != "" {
		t.Errorf("%+v, %v", v, err)
	}
	if a, err := c.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: b}); err != nil || len(a.Grants) != 1 || a.Grants[0].Grantee.Type != types.TypeCanonicalUser || *a.Grants[0].Grantee.ID != *a.Owner.ID {
		t.Errorf("%+v, %v", a, err)
	}
	if o, err := c.GetBucketOwnershipControls(ctx, &awss3.GetBucketOwnershipControlsInput{Bucket: b}); err != nil || o.OwnershipControls.Rules[0].ObjectOwnership != types.ObjectOwnershipBucketOwnerEnforced {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := c.DeleteBucketOwnershipControls(ctx, &awss3.DeleteBucketOwnershipControlsInput{Bucket: b}); err != nil {
		t.Error(err)
	}
	_, err := c.GetBucketOwnershipControls(ctx, &awss3.GetBucketOwnershipControlsInput{Bucket: b})
	if got := outcome(err); got != "OwnershipControlsNotFoundError" {
		t.Errorf("%q", got)
	}
}

func encryption(a types.ServerSideEncryption) *types.ServerSideEncryptionConfiguration {
	return &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: a},
	}}}
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "tagged")
	w.put(c, "tagged", "key", "x")
	b, key := aws.String("tagged"), aws.String("key")
	set := func(pairs ...string) *types.Tagging {
		tags := &types.Tagging{TagSet: []types.Tag{}}
		for i := 0; i < len(pairs); i += 2 {
			tags.TagSet = append(tags.TagSet, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		return tags
	}
	if _, err := c.PutBucketTagging(ctx, &awss3.PutBucketTaggingInput{Bucket: b, Tagging: set("b", "2", "a", "")}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: b}); err != nil || len(got.TagSet) != 2 || *got.TagSet[0].Key != "a" || *got.TagSet[1].Value != "2" {
		t.Errorf("%+v, %v", got, err)
	}
	for want, tags := range map[string]*types.Tagging{"InvalidTag": set("a", "1", "a", "2"), "BadRequest": set(strings.Split(strings.Repeat("a,x,b,x,c,x,d,x,e,x,f,x,g,x,h,x,i,x,j,x,k,x,", 1), ",")[:22]...)} {
		_, err := c.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: b, Key: key, Tagging: tags})
		if got := outcome(err); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, err := c.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: b, Key: key, Tagging: set("k", "v")}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: b, Key: key}); err != nil || len(got.TagSet) != 1 || *got.TagSet[0].Value != "v" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.DeleteObjectTagging(ctx, &awss3.DeleteObjectTaggingInput{Bucket: b, Key: key}); err != nil {
		t.Error(err)
	}
	if got, err := c.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: b, Key: key}); err != nil || len(got.TagSet) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.DeleteBucketTagging(ctx, &awss3.DeleteBucketTaggingInput{Bucket: b}); err != nil {
		t.Error(err)
	}
	if got, code := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key}); got != "x" {
		t.Errorf("%q %q", got, code)
	}
}

func TestPresignedURLs(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "signed")
	b, key := aws.String("signed"), aws.String("a b/ü")
	p := awss3.NewPresignClient(c)
	send := func(method, url, body string) (int, string) {
		t.Helper()
		return w.plainly(method, strings.TrimPrefix(url, w.url), body)
	}
	put, err := p.PresignPutObject(ctx, &awss3.PutObjectInput{Bucket: b, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if code, body := send(http.MethodPut, put.URL, "hello"); code != http.StatusOK {
		t.Fatalf("put: %d %s", code, body)
	}
	read, err := p.PresignGetObject(ctx, &awss3.GetObjectInput{Bucket: b, Key: key, ResponseContentType: aws.String("image/png")})
	if err != nil {
		t.Fatal(err)
	}
	if code, body := send(http.MethodGet, read.URL, ""); code != http.StatusOK || body != "hello" {
		t.Errorf("get: %d %s", code, body)
	}
	for name, url := range map[string]string{
		"another key": strings.Replace(read.URL, "a%20b", "a%20c", 1), "another expiry": strings.Replace(read.URL, "X-Amz-Expires=900", "X-Amz-Expires=901", 1),
		"another method": read.URL, "another header": strings.Replace(read.URL, "png", "gif", 1),
	} {
		method := http.MethodGet
		if name == "another method" {
			method = http.MethodDelete
		}
		if code, body := send(method, url, ""); code != http.StatusForbidden || !strings.Contains(body, "SignatureDoesNotMatch") {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	// Signatures of version 2 are those of older buckets.
	if code, body := w.plainly(http.MethodGet, "/signed/k?AWSAccessKeyId=AKIAOWNER&Signature=x&Expires=1", ""); code != http.StatusBadRequest || !strings.Contains(body, "AWS4-HMAC-SHA256") {
		t.Errorf("version 2: %d %s", code, body)
	}
	past, err := p.PresignGetObject(ctx, &awss3.GetObjectInput{Bucket: b, Key: key}, awss3.WithPresignExpires(time.Nanosecond))
	if err != nil {
		t.Fatal(err)
	}
	// An expiry of no seconds is over when the second is.
	for deadline := time.Now().Add(5 * time.Second); ; {
		code, body := send(http.MethodGet, past.URL, "")
		if code == http.StatusForbidden && strings.Contains(body, "Request has expired") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("expired: %d %s", code, body)
		}
	}
}

// Clients that name the bucket in the host.
func TestVirtualHosts(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"s3.localhost:4566", "s3.us-east-1.amazonaws.com", "s3-us-east-1.amazonaws.com", "s3.amazonaws.com", "localhost:4566"} {
		name := "virtual-" + strings.NewReplacer(".", "-", ":", "-").Replace(host)
		c := w.client("AKIAOWNER", func(o *awss3.Options) {
			o.UsePathStyle, o.BaseEndpoint = false, aws.String("http://"+host)
			o.HTTPClient = &http.Client{Transport: toServer{strings.TrimPrefix(w.url, "http://")}}
		})
		w.bucket(c, name)
		w.put(c, name, "/_roadstead/health", "mine")
		w.put(c, name, "v2/", "mine too")
		for key, want := range map[string]string{"/_roadstead/health": "mine", "v2/": "mine too"} {
			if got, code := get(t.Context(), c, &awss3.GetObjectInput{Bucket: &name, Key: &key}); got != want {
				t.Errorf("%s at %s: %q %q", key, host, got, code)
			}
		}
		list, err := c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: &name})
		if err != nil || len(list.Contents) != 2 {
			t.Errorf("%s: %+v, %v", host, list, err)
		}
	}
}

// toServer sends every request to one server.
type toServer struct{ addr string }

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Host = r.URL.Host, s.addr
	return http.DefaultTransport.RoundTrip(r)
}

func TestObjectsInProcess(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "seam")
	w.put(c, "seam", "ca.pem", "certificate")
	o := w.svc.Objects()
	at := objects.Location{Bucket: "seam", Key: "ca.pem"}
	root := func(account string) objects.Principal {
		return objects.Caller(&api.Call{Account: account, Region: region, Time: time.Now(), Identity: api.Identity{ARN: "arn:aws:iam::" + account + ":root", UserID: account, Root: true}})
	}
	r, info, err := o.Get(ctx, root(owner), at)
	if err != nil || info.Size != 11 {
		t.Fatalf("%+v, %v", info, err)
	}
	if b, err := io.ReadAll(r); string(b) != "certificate" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	r.Close()
	if b, err := o.Bucket(ctx, "seam"); err != nil || b.Account != owner || b.Region != region {
		t.Errorf("%+v, %v", b, err)
	}
	logs := objects.Service("logdelivery.elasticloadbalancing.amazonaws.com", owner, "arn:aws:elasticloadbalancing:us-east-1:"+owner+":loadbalancer/app/a/b", "127311923021")
	line := objects.Location{Bucket: "seam", Key: "AWSLogs/x.log.gz"}
	deny := func(when string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	_, _, err = o.Get(ctx, root(other), at)
	deny("another account", err, objects.ErrDenied)
	_, _, err = o.Get(ctx, root(owner), objects.Location{Bucket: "nobodys", Key: "x"})
	deny("no bucket", err, objects.ErrNoBucket)
	_, _, err = o.Get(ctx, root(owner), objects.Location{Bucket: "seam", Key: "x"})
	deny("no key", err, objects.ErrNoObject)
	_, _, err = o.Get(ctx, root(owner), objects.Location{Bucket: "seam", Key: "ca.pem", Version: "x"})
	deny("no version", err, objects.ErrNoVersion)
	deny("a service without a policy", o.MayPut(ctx, logs, line), objects.ErrDenied)
	for statement, want := range map[string]error{
		`"Effect":"Allow","Principal":{"Service":"logdelivery.elasticloadbalancing.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::seam/AWSLogs/*"`:                                                                                                                                                                                                         nil,
		`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::127311923021:root"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::seam/AWSLogs/*"`:                                                                                                                                                                                                                             nil,
		`"Effect":"Allow","Principal":{"Service":"logdelivery.elasticloadbalancing.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::seam/*","Condition":{"StringEquals":{"aws:SourceAccount":"` + owner + `","s3:x-amz-acl":"bucket-owner-full-control"},"ArnLike":{"aws:SourceArn":"arn:aws:elasticloadbalancing:us-east-1:` + owner + `:loadbalancer/*"}}`: nil,
		`"Effect":"Allow","Principal":{"Service":"logdelivery.elasticloadbalancing.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::seam/*","Condition":{"StringEquals":{"aws:SourceAccount":"` + other + `"}}`:                                                                                                                                              objects.ErrDenied,
		`"Effect":"Allow","Principal":{"Service":"delivery.logs.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::seam/AWSLogs/*"`:                                                                                                                                                                                                                            objects.ErrDenied,
		`"Effect":"Allow","Principal":{"Service":"logdelivery.elasticloadbalancing.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::seam/other/*"`:                                                                                                                                                                                                           objects.ErrDenied,
	} {
		if _, err := c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("seam"), Policy: aws.String(policy(statement))}); err != nil {
			t.Fatal(err)
		}
		if err := o.MayPut(ctx, logs, line); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", statement, err, want)
		}
		_, err := o.Put(ctx, logs, line, strings.NewReader("line"), objects.PutOptions{ContentType: "application/gzip"})
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("put, %s: %v, want %v", statement, err, want)
		}
	}
	if got, code := get(ctx, c, &awss3.GetObjectInput{Bucket: aws.String("seam"), Key: &line.Key}); got != "line" {
		t.Errorf("%q %q", got, code)
	}
	broken := errors.New("broken")
	if _, err := c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("seam"), Policy: aws.String(policy(
		`"Effect":"Allow","Principal":{"Service":"logdelivery.elasticloadbalancing.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::seam/AWSLogs/*"`))}); err != nil {
		t.Fatal(err)
	}
	_, err = o.Put(ctx, logs, line, io.MultiReader(strings.NewReader("half"), failing{broken}), objects.PutOptions{})
	deny("a body that fails", err, broken)
	if got, _ := get(ctx, c, &awss3.GetObjectInput{Bucket: aws.String("seam"), Key: &line.Key}); got != "line" {
		t.Errorf("a body that failed left %q", got)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
