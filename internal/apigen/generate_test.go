package apigen

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGeneratedCodeIsCurrent fails when a model, a list or the generator
// changed and go generate did not run.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	root := t.TempDir()
	if err := Generate(os.DirFS("."), filepath.Join(root, "internal/api"), filepath.Join(root, "docs/compat")); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join("../..", rel))
		if err != nil {
			return err
		}
		if string(got) != string(want) {
			t.Errorf("%s differs from what the generator writes: run go generate ./internal/api", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("nothing was generated")
	}
}

func TestConstantNames(t *testing.T) {
	got := map[string]string{}
	for _, v := range []string{"FARGATE_SPOT", "fargate-spot", "ipv4", "t2.micro", "awsvpc", "EC2", "dualstack-without-public-ipv4", "*"} {
		got[v] = constant(v)
	}
	want := map[string]string{
		"FARGATE_SPOT": "FargateSpot", "fargate-spot": "FargateSpot", "ipv4": "Ipv4", "t2.micro": "T2Micro",
		"awsvpc": "Awsvpc", "EC2": "Ec2", "dualstack-without-public-ipv4": "DualstackWithoutPublicIpv4", "*": "",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestExportedNames(t *testing.T) {
	for in, want := range map[string]string{"clusterArn": "ClusterArn", "policyDocumentType": "PolicyDocumentType", "x-amz-id": "XAmzId", "2fa": "N2fa"} {
		if got := exported(in); got != want {
			t.Errorf("exported(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUnknownOperationIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"models", "operations"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m, err := os.ReadFile("models/sts.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "models/sts.json.gz"), m, 0o600); err != nil {
		t.Fatal(err)
	}
	for list, wrong := range map[string]bool{"GetCallerIdentity\n": false, "GetCallerIdentiti\n": true, "AssumeRole\nAssumeRole\n": true} {
		if err := os.WriteFile(filepath.Join(dir, "operations/sts.txt"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Generate(os.DirFS(dir), filepath.Join(dir, "api"), filepath.Join(dir, "compat"))
		if (err != nil) != wrong {
			t.Errorf("list %q: error %v", list, err)
		}
	}
}
