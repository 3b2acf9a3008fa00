package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/coder/websocket"
)

// door is a way to a load balancer: a client and the URL that it asks for.
type door struct {
	name string
	*http.Client
	url string
}

// changing is a load balancer before two tasks, one and two, which the test
// registers by itself.
type changing struct {
	*stack
	group, plain, secure string // target group, HTTP and HTTPS listeners
	dns                  string
	addresses            map[string]string // of tasks
	roots                *x509.CertPool
}

func (st *stack) changing(port int32) *changing {
	st.t.Helper()
	ctx := st.t.Context()
	b := &changing{stack: st, addresses: map[string]string{}, roots: x509.NewCertPool()}
	front := st.group("lb", 80, "0.0.0.0/0")
	st.allow(front, port, "0.0.0.0/0")
	lb, err := st.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: &st.name, Subnets: st.subnets, SecurityGroups: []string{front}})
	if err != nil {
		st.t.Fatal(err)
	}
	b.dns = *lb.LoadBalancers[0].DNSName
	tg, err := st.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: &st.name, Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)), TargetType: elbtypes.TargetTypeEnumIp, VpcId: &st.vpc,
		HealthCheckPath: new("/health"), HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)),
	})
	if err != nil {
		st.t.Fatal(err)
	}
	b.group = *tg.TargetGroups[0].TargetGroupArn
	forward := []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &b.group}}
	listen := func(in *elb.CreateListenerInput) string {
		in.LoadBalancerArn, in.DefaultActions = lb.LoadBalancers[0].LoadBalancerArn, forward
		l, err := st.elb.CreateListener(ctx, in)
		if err != nil {
			st.t.Fatal(err)
		}
		return *l.Listeners[0].ListenerArn
	}
	b.plain = listen(&elb.CreateListenerInput{Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80))})
	b.secure = listen(&elb.CreateListenerInput{Protocol: elbtypes.ProtocolEnumHttps, Port: &port, Certificates: []elbtypes.Certificate{{CertificateArn: new(b.certify("first"))}}})
	open := st.group("tasks", 80, "172.31.0.0/16")
	tasks := map[string]string{}
	for _, name := range []string{"one", "two"} {
		tasks[name] = st.run(st.register(name, nil, st.container("serve", "-name", name)), open)
	}
	for name, arn := range tasks {
		b.addresses[name] = address(st.t, st.await(arn, "RUNNING"))
		b.registers(name)
	}
	eventually(st.t, 60*time.Second, "healthy targets", func() error {
		out, err := st.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &b.group})
		if err != nil || len(out.TargetHealthDescriptions) != 2 {
			return errorf("%+v %v", out, err)
		}
		for _, d := range out.TargetHealthDescriptions {
			if d.TargetHealth.State != elbtypes.TargetHealthStateEnumHealthy {
				return errorf("%s is %s", *d.Target.Id, d.TargetHealth.State)
			}
		}
		return nil
	})
	return b
}

// certify makes a certificate that the test's clients trust.
func (b *changing) certify(label string) string {
	b.t.Helper()
	arn, file := b.upload(label, b.dns)
	pem, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	b.roots.AppendCertsFromPEM(pem)
	return arn
}

func (b *changing) registers(task string) {
	b.t.Helper()
	if _, err := b.elb.RegisterTargets(b.t.Context(), &elb.RegisterTargetsInput{TargetGroupArn: &b.group, Targets: []elbtypes.TargetDescription{{Id: new(b.addresses[task])}}}); err != nil {
		b.t.Fatal(err)
	}
}

// doors are the ways in: by the endpoint's port and by the listener's port on
// the host, over TLS with HTTP/1.1 and with HTTP/2.
func (b *changing) doors(port int32) []door {
	to := func(address string, h2 bool) *http.Client {
		tr := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: b.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: h2, MaxIdleConnsPerHost: 100,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		}
		b.t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	host := fmt.Sprintf("127.0.0.1:%d", port)
	secure := fmt.Sprintf("https://%s:%d", b.dns, port)
	return []door{
		{"endpoint", to(b.listen, false), "http://" + b.dns},
		{"TLS", to(host, false), secure},
		{"HTTP/2", to(host, true), secure},
	}
}

// answers is what a path answers by a way in.
func (d *door) answers(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := d.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// talk is a WebSocket and a stream of events, both of one way in.
type talk struct {
	door   door
	socket *websocket.Conn
	task   string // that the socket leads to
	events *bufio.Scanner
	seen   int
	hangUp func()
}

func (d door) talk(t *testing.T) *talk {
	t.Helper()
	ctx := t.Context()
	c, resp, err := websocket.Dial(ctx, d.url+"/ws", &websocket.DialOptions{HTTPClient: d.Client})
	if err != nil {
		t.Fatalf("%s: %v %+v", d.name, err, resp)
	}
	hangUp := func() { _ = c.CloseNow() }
	t.Cleanup(func() { hangUp() })
	_, name, err := c.Read(ctx)
	if err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := d.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	k := &talk{door: d, socket: c, task: string(name), events: bufio.NewScanner(stream.Body)}
	k.hangUp = func() {
		_ = c.CloseNow()
		_ = stream.Body.Close()
	}
	hangUp = k.hangUp
	return k
}

// goesOn checks that the socket answers, and that no event was missed.
func (k *talk) goesOn(t *testing.T, after string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := k.socket.Write(ctx, websocket.MessageText, []byte(after)); err != nil {
		t.Fatalf("%s: the socket after %s: %v", k.door.name, after, err)
	}
	if _, got, err := k.socket.Read(ctx); err != nil || string(got) != after {
		t.Fatalf("%s: the socket after %s: %q %v", k.door.name, after, got, err)
	}
	for range 3 {
		id := fmt.Sprint("id: ", k.seen+1)
		for k.events.Scan() && k.events.Text() != id {
			if strings.HasPrefix(k.events.Text(), "id:") {
				t.Fatalf("%s: after %s there came %q, not %q", k.door.name, after, k.events.Text(), id)
			}
		}
		if err := k.events.Err(); err != nil || k.events.Text() != id {
			t.Fatalf("%s: the events after %s end with %v", k.door.name, after, err)
		}
		k.seen++
	}
}

// sleeping waits until n requests for /sleep are at the tasks.
func (b *changing) sleeping(d door, n int) {
	b.t.Helper()
	known := map[string]int{}
	eventually(b.t, 30*time.Second, fmt.Sprint(n, " requests are under way"), func() error {
		for range 4 {
			var task struct {
				Name     string
				Sleeping int
			}
			body, err := d.answers(b.t.Context(), "/")
			if err == nil {
				err = json.Unmarshal([]byte(body), &task)
			}
			if err != nil {
				return err
			}
			known[task.Name] = task.Sleeping
		}
		if known["one"]+known["two"] != n {
			return errorf("%v", known)
		}
		return nil
	})
}

// TestInFlight has clients talk through an application load balancer to two
// tasks while its rules, certificates and targets change, and ask while the
// server is restarted: whatever has begun goes on to its end.
func TestInFlight(t *testing.T) {
	t.Parallel()
	const port = 8456
	s := ownServer(t, "containerd")
	b := newStack(t, s).changing(port)
	ctx := t.Context()
	doors := b.doors(port)
	var talks []*talk
	for _, d := range doors {
		eventually(t, 30*time.Second, d.name+" answers", func() error {
			_, err := d.answers(ctx, "/")
			return err
		})
		if d.name != "HTTP/2" { // whose WebSockets are another protocol's
			talks = append(talks, d.talk(t))
		}
	}
	all := func(after string) {
		t.Helper()
		for _, k := range talks {
			k.goesOn(t, after)
		}
	}
	all("the start")
	long := func(d time.Duration) (wait func(when string)) {
		var wg sync.WaitGroup
		failed := make(chan error, 100)
		for _, way := range doors {
			for range 4 {
				wg.Go(func() {
					if got, err := way.answers(ctx, "/sleep/"+d.String()); err != nil || !strings.HasPrefix(got, "slept") {
						failed <- errorf("%s: %q %v", way.name, got, err)
					}
				})
			}
		}
		b.sleeping(doors[0], 4*len(doors))
		return func(when string) {
			t.Helper()
			wg.Wait()
			close(failed)
			for err := range failed {
				t.Errorf("a request in flight during %s: %v", when, err)
			}
		}
	}

	// Rules and certificates.
	wait := long(4 * time.Second)
	for _, l := range []string{b.plain, b.secure} {
		if _, err := b.elb.CreateRule(ctx, &elb.CreateRuleInput{
			ListenerArn: &l, Priority: new(int32(1)), Conditions: []elbtypes.RuleCondition{{Field: new("path-pattern"), Values: []string{"/ws", "/events", "/sleep/*", "/closed"}}},
			Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumFixedResponse, FixedResponseConfig: &elbtypes.FixedResponseActionConfig{StatusCode: new("410")}}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.elb.ModifyListener(ctx, &elb.ModifyListenerInput{ListenerArn: &b.secure, Certificates: []elbtypes.Certificate{{CertificateArn: new(b.certify("second"))}}}); err != nil {
		t.Fatal(err)
	}
	for _, d := range doors {
		eventually(t, 20*time.Second, "the rule holds by "+d.name, func() error {
			if _, err := d.answers(ctx, "/closed"); err == nil || !strings.HasPrefix(err.Error(), "410") {
				return errorf("%v", err)
			}
			return nil
		})
	}
	all("a change of rules and certificates")
	wait("a change of rules")
	for _, l := range []string{b.plain, b.secure} {
		rules, err := b.elb.DescribeRules(ctx, &elb.DescribeRulesInput{ListenerArn: &l})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.elb.DeleteRule(ctx, &elb.DeleteRuleInput{RuleArn: rules.Rules[0].RuleArn}); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range doors {
		eventually(t, 20*time.Second, "the rule is gone by "+d.name, func() error {
			_, err := d.answers(ctx, "/sleep/0s")
			return err
		})
	}

	// Targets: one leaves, and is used for what it has.
	leaves := talks[0].task
	wait = long(4 * time.Second)
	if _, err := b.elb.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &b.group, Targets: []elbtypes.TargetDescription{{Id: new(b.addresses[leaves])}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, leaves+" is asked no more", func() error {
		for range 6 {
			if got, err := doors[0].answers(ctx, "/"); err != nil || strings.Contains(got, `"name":"`+leaves+`"`) {
				return errorf("%s %v", got, err)
			}
		}
		return nil
	})
	all("a target's deregistration")
	wait("a target's deregistration")
	b.registers(leaves)
	for _, k := range talks {
		k.hangUp()
	}
	b.restarts(doors, long)
}

// restarts stops the server as its user does, with requests under way and
// others coming, and starts it again. Who comes while nobody serves is told so
// before he could ask.
func (b *changing) restarts(doors []door, long func(time.Duration) func(string)) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	var wg sync.WaitGroup
	var asked, refused atomic.Int64
	failed := make(chan error, 1000)
	for _, d := range doors {
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					got, err := d.answers(b.t.Context(), "/")
					asked.Add(1)
					switch {
					case errors.Is(err, syscall.ECONNREFUSED):
						refused.Add(1)
					case err != nil:
						select {
						case failed <- errorf("%s: %q %v", d.name, got, err):
						default:
						}
					}
					<-time.After(5 * time.Millisecond)
				}
			})
		}
	}
	wait := long(4 * time.Second)
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	if err := <-b.exited; err != nil {
		b.t.Error("the server ends with", err)
	}
	wait("a restart")
	if err := b.start(); err != nil {
		b.t.Fatal(err)
	}
	for _, d := range doors {
		eventually(b.t, 30*time.Second, d.name+" answers again", func() error {
			_, err := d.answers(b.t.Context(), "/")
			return err
		})
	}
	stop()
	wg.Wait()
	close(failed)
	n := 0
	for err := range failed {
		if n++; n <= 5 {
			b.t.Errorf("a request during a restart: %v", err)
		}
	}
	if n > 0 || asked.Load() == refused.Load() {
		b.t.Errorf("%d of %d requests failed beside %d that found nobody", n, asked.Load(), refused.Load())
	}
	b.t.Logf("%d requests, %d found nobody", asked.Load(), refused.Load())
}
