package node

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/engine/fake"
	"roadstead.dev/internal/model/acs"
)

// bridgeTask is a web server that is linked with its store.
func bridgeTask() acs.Task {
	web, store := essential("web"), essential("store")
	web.Links = []string{"store:data"}
	web.PortMappings = []acs.PortMapping{{ContainerPort: 80}}
	web.DockerConfig = acs.NewDockerConfig(acs.DockerContainerConfig{Hostname: "www"}, acs.DockerHostConfig{
		ExtraHosts: []string{"other:10.1.2.3"}, DNS: []string{"10.0.0.53"}, DNSSearch: []string{"example.com"},
	})
	store.PortMappings = []acs.PortMapping{{ContainerPort: 5433, Protocol: "udp"}, {ContainerPort: 5432}}
	store.Environment = map[string]string{"USER": "u", "PATH": "/bin"}
	t := newTaskMessage(web, store)
	t.LaunchType, t.NetworkMode, t.ElasticNetworkInterfaces = "EC2", "bridge", nil
	return t
}

func bridgePlaces() map[string]Place {
	return map[string]Place{
		"web": {Netns: "/netns/0", Address: netip.MustParseAddr("172.17.0.2"), Bindings: []acs.NetworkBinding{
			{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 49153, Protocol: "tcp"},
			{BindIP: "0.0.0.0", ContainerPortRange: "90-91", HostPortRange: "49154-49155", Protocol: "udp"},
		}},
		"store": {Netns: "/netns/1", Address: netip.MustParseAddr("172.17.0.3")},
	}
}

// Containers of bridge mode are in namespaces of their own, find those that they
// are linked with, which start first, and tell of their ports once they run.
func TestBridge(t *testing.T) {
	run(t, func(r *rig) {
		r.network.places = bridgePlaces()
		r.engine.FailNext(fake.Start, os.ErrDeadlineExceeded) // the store's, and it is tried again
		r.payload(bridgeTask())
		if ch := r.control.last(); ch.Containers[0].Status != acs.StatusPending || ch.Containers[0].NetworkBindings != nil {
			t.Errorf("before the store has started: %+v", ch.Containers)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.want("RUNNING web=RUNNING store=RUNNING")
		if d := cmp.Diff(r.network.places["web"].Bindings, r.control.last().Containers[0].NetworkBindings); d != "" {
			t.Error(d)
		}
		web, _ := r.engine.Spec(r.id("web"))
		store, _ := r.engine.Spec(r.id("store"))
		if web.NetNS != "/netns/0" || store.NetNS != "/netns/1" || web.Hostname != "www" || len(store.Hostname) != 12 {
			t.Errorf("web %+v, store %+v", web, store)
		}
		for _, want := range []string{
			"DATA_PORT=tcp://172.17.0.3:5432", "DATA_PORT_5432_TCP_ADDR=172.17.0.3", "DATA_PORT_5432_TCP_PORT=5432", "DATA_PORT_5432_TCP_PROTO=tcp",
			"DATA_PORT_5433_UDP=udp://172.17.0.3:5433", "DATA_NAME=/web/data", "DATA_ENV_USER=u",
		} {
			if !slices.Contains(web.Env, want) {
				t.Errorf("no %s in %v", want, web.Env)
			}
		}
		if slices.ContainsFunc(web.Env, func(kv string) bool { return strings.HasPrefix(kv, "DATA_ENV_PATH") }) {
			t.Errorf("environment %v", web.Env)
		}
		file := func(container, name string) string {
			b, err := os.ReadFile(filepath.Join(r.node.dir(arn), "containers", container, name))
			if err != nil {
				t.Error(err)
			}
			return string(b)
		}
		if got, want := file("web", "hosts"), "127.0.0.1 localhost\n10.1.2.3 other\n172.17.0.3 data "+store.Hostname+" store\n172.17.0.2 www\n"; got != want {
			t.Errorf("hosts %q, want %q", got, want)
		}
		if got, want := file("store", "hosts"), "127.0.0.1 localhost\n172.17.0.3 "+store.Hostname+"\n"; got != want {
			t.Errorf("hosts %q, want %q", got, want)
		}
		if got := file("web", "resolv.conf"); !strings.HasPrefix(got, "search example.com\nnameserver 10.0.0.53\n") || strings.Count(got, "nameserver") != 1 {
			t.Errorf("resolv.conf %q", got)
		}

		ask := func() metadataContainer {
			w := httptest.NewRecorder()
			r.node.MachineMetadata().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v4/"+r.id("web"), nil))
			var m metadataContainer
			if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
				t.Errorf("%v: %s", err, w.Body)
			}
			return m
		}
		check := func() {
			t.Helper()
			m := ask()
			if len(m.Networks) != 1 || m.Networks[0].NetworkMode != "bridge" || !slices.Equal(m.Networks[0].IPv4Addresses, []string{"172.17.0.2"}) {
				t.Errorf("networks %+v", m.Networks)
			}
			if d := cmp.Diff([]metadataPort{{80, "tcp", 49153, "0.0.0.0"}, {90, "udp", 49154, "0.0.0.0"}, {91, "udp", 49155, "0.0.0.0"}}, m.Ports); d != "" {
				t.Error(d)
			}
		}
		check()
		r.restart() // the next process knows it from its file
		check()
		// The linked one ends last.
		r.payload(stopMessage())
		r.want("STOPPED web=STOPPED(143) store=STOPPED(143)")
		if ch := r.control.last(); ch.Containers[0].StoppedAt.After(*ch.Containers[1].StoppedAt) {
			t.Errorf("%+v", ch.Containers)
		}
		r.clean()
	})
}

// A port that is not free ends the task by its container's own reason.
func TestPortTaken(t *testing.T) {
	run(t, func(r *rig) {
		const reason = "CannotStartContainerError: Error response from daemon: no port"
		r.network.err = &ContainerError{Container: "web", Reason: reason}
		r.payload(bridgeTask())
		r.want("STOPPED web=STOPPED store=STOPPED")
		ch := r.control.last()
		if ch.Reason != reason || ch.Containers[0].Reason != reason || ch.Containers[1].Reason != "" {
			t.Errorf("%+v", ch)
		}
		r.clean()
	})
}

func TestResolver(t *testing.T) {
	const machine = "search a b\nnameserver 127.0.0.53\nnameserver 10.0.0.2\noptions ndots:2\n"
	bridge, host := &acs.Task{NetworkMode: "bridge"}, &acs.Task{NetworkMode: "host"}
	for _, tt := range []struct {
		task *acs.Task
		host acs.DockerHostConfig
		want string
	}{
		{bridge, acs.DockerHostConfig{}, "search a b\nnameserver 10.0.0.2\noptions ndots:2\n"},
		{host, acs.DockerHostConfig{}, machine},
		{host, acs.DockerHostConfig{DNS: []string{"1.1.1.1"}}, "nameserver 1.1.1.1\nsearch a b\noptions ndots:2\n"},
		{bridge, acs.DockerHostConfig{DNSSearch: []string{"c"}}, "search c\nnameserver 10.0.0.2\noptions ndots:2\n"},
	} {
		if got := resolver(tt.task, &tt.host, machine); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.host, got, tt.want)
		}
	}
}

// gate lets interfaces come when it is closed.
type gate chan struct{}

func (g gate) WaitInterface(ctx context.Context, _ string) error {
	select {
	case <-g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An interface that is attached for a task is waited for and reported, once,
// however often the control plane tells of it.
func TestInterfaceIsAwaited(t *testing.T) {
	run(t, func(r *rig) {
		m := &acs.AttachTaskNetworkInterfacesMessage{
			MessageID: "m", TaskArn: arn, TaskClusterArn: "c", WaitTimeoutMs: 60_000, ElasticNetworkInterfaces: newTaskMessage().ElasticNetworkInterfaces,
		}
		there := make(gate)
		r.node.cfg.Interfaces = there
		r.send(m)
		r.send(m)
		if len(r.control.reports) != 0 {
			t.Errorf("reported before it is there: %+v", r.control.reports)
		}
		r.control.setRefuse(os.ErrDeadlineExceeded)
		close(there)
		synctest.Wait()
		r.control.setRefuse(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(r.control.reports) != 1 {
			t.Fatalf("reports %+v", r.control.reports)
		}
		ch := r.control.reports[0]
		if ch.Task != arn || ch.Cluster != "c" || ch.Status != "" || len(ch.Attachments) != 1 ||
			ch.Attachments[0] != (acs.AttachmentStateChange{AttachmentArn: "arn:aws:ecs:us-east-1:000000000000:attachment/1", Status: "ATTACHED"}) {
			t.Errorf("report %+v", ch)
		}
		// One that never comes is not.
		r.node.cfg.Interfaces = make(gate)
		r.send(m)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(r.control.reports) != 1 || len(r.node.awaited) != 0 {
			t.Errorf("reports %+v, awaited %v", r.control.reports, r.node.awaited)
		}
	})
}
