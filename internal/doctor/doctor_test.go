package doctor

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

func TestEndpointInUseIsAFailureWithARemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := checkEndpoint(Settings{Listen: l.Addr().String()})
	if f.Level != Failure || f.Remedy == "" {
		t.Errorf("taken address: %+v", f)
	}
	if f := checkEndpoint(Settings{Listen: l.Addr().String(), Running: true}); f.Level != OK {
		t.Errorf("own server: %+v", f)
	}
}

func TestEveryFindingThatIsNotFineHasARemedy(t *testing.T) {
	fs := Run(Settings{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Containerd: "/nonexistent.sock"})
	if len(fs) != len(checks) {
		t.Fatalf("%d findings of %d checks", len(fs), len(checks))
	}
	for _, f := range fs {
		if f.Level == Failure && f.Remedy == "" {
			t.Errorf("%s fails without a remedy: %s", f.Check, f.Detail)
		}
	}
	var out bytes.Buffer
	healthy, err := Print(&out, fs)
	if err != nil {
		t.Fatal(err)
	}
	if healthy {
		t.Error("a containerd that does not answer was called healthy")
	}
	if !strings.Contains(out.String(), "→") {
		t.Error("no remedy printed")
	}
}
