package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestNames reaches a load balancer by its name: from a task in the VPC, and
// from the host through its hosts file.
func TestNames(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	b := st.balance(1, st.register("web", nil, st.container("serve", "-name", "named")))
	b.stable(90 * time.Second)
	eventually(t, 30*time.Second, "the balancer answers", func() error {
		if code, body, err := b.get("/"); err != nil || code != http.StatusOK {
			return errorf("%d %q %v", code, body, err)
		}
		return nil
	})

	arn := st.run(st.register("client", nil, st.container("seq", "resolve", b.dns, "--", "get", "http://"+b.dns+"/")), st.group("client", 0, ""))
	eventually(t, time.Minute, "the client ends", func() error {
		task := st.task(arn)
		if *task.LastStatus != "STOPPED" {
			return errorf("it is %s", *task.LastStatus)
		}
		if c := task.Containers[0]; c.ExitCode == nil || *c.ExitCode != 0 {
			t.Fatalf("it ended with %v: %s\n%s", c.ExitCode, str(task.StoppedReason), st.output(arn))
		}
		return nil
	})
	eventually(t, 10*time.Second, "its output is there", func() error {
		if out := st.output(arn); !strings.Contains(out, "172.31.") || !strings.Contains(out, "named") {
			return errorf("%q shows no private address, or no answer", out)
		}
		return nil
	})

	// The endpoint's port leads to it too, by HTTPS as by HTTP.
	for _, scheme := range []string{"http", "https"} {
		resp, err := st.secureClient(t).Get(scheme + "://" + b.dns + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "named") {
			t.Errorf("by %s: %s %s, %v", scheme, resp.Status, body, err)
		}
	}

	hosts, err := os.ReadFile(st.hosts())
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for line := range strings.Lines(string(hosts)) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == b.dns {
			addresses = append(addresses, f[0])
		}
	}
	if len(addresses) != 3 {
		t.Fatalf("the hosts file has %v for %s, want an address in each zone", addresses, b.dns)
	}
	for _, a := range addresses {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(a, "80"))
			},
		}}
		resp, err := client.Get("http://" + b.dns + "/")
		if err != nil {
			t.Errorf("by the address in the hosts file: %v", err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", a, resp.Status)
		}
	}
}

// TestBuiltinKeyIsNobodyInsideTheVPC: on loopback test/test is root; a
// container with the same key is refused.
func TestBuiltinKeyIsNobodyInsideTheVPC(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	// The status page, which asks for no signature, is for the host alone.
	c := st.container("seq", "get", "http://169.254.170.2:"+port(t, st.listen)+"/_roadstead/status", "--", "caller")
	c.Environment = keys("test", "test")
	arn := st.run(st.register("intruder", nil, c), st.group("closed", 0, ""))
	eventually(t, time.Minute, "the task ends", func() error {
		task := st.task(arn)
		if *task.LastStatus != "STOPPED" {
			return errorf("it is %s", *task.LastStatus)
		}
		if code := task.Containers[0].ExitCode; code == nil || *code == 0 {
			t.Fatalf("the call ended with %v: %s\n%s", code, str(task.StoppedReason), st.output(arn))
		}
		return nil
	})
	eventually(t, 10*time.Second, "its output is there", func() error {
		out := st.output(arn)
		if strings.Contains(out, "loadBalancers") {
			t.Fatalf("a task reads the server's status: %s", out)
		}
		if !strings.Contains(out, "InvalidClientTokenId") {
			return errorf("%q", out)
		}
		return nil
	})
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
