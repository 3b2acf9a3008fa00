package agentws_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/coder/websocket"

	"roadstead.dev/internal/api"
	apiecs "roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/dispatch"
	"roadstead.dev/internal/dispatch/agentws"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/ecs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	host    = "roadstead.test:4566"
	secret  = "secret"
)

// pipes are a listener and a dialer without a network.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// people knows the access keys: each is a user of its name.
type people struct{ denied string }

func (people) Lookup(_ context.Context, key, _ string) (string, api.Identity, string, error) {
	return secret, api.Identity{ARN: "arn:aws:iam::000000000000:user/" + key, UserID: "AIDA" + key}, account, nil
}

func (p people) Authorize(_ context.Context, _ *api.Call, action string, resources []string, _ map[string]string) error {
	if action == p.denied {
		return &model.Denied{Action: action, Resource: resources[0], Reason: "because no identity-based policy allows it"}
	}
	return nil
}

type minter struct{}

func (minter) MintRoleSession(context.Context, string, string, string, time.Duration, map[string]string) (identity.Credentials, error) {
	return identity.Credentials{AccessKeyID: "ASIA", Secret: "s", SessionToken: "t", Expires: time.Now().Add(6 * time.Hour)}, nil
}

// plane is a control plane behind its gateway.
type plane struct {
	t      *testing.T
	store  store.Store
	client *http.Client
	people *people
	book   *fleet.Book
	// dial connects to the plane.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// trusting takes every identity document for signed.
type trusting struct{}

func (trusting) VerifyIdentityDocument(string, string) bool { return true }

func withPlane(t *testing.T, f func(p *plane)) {
	synctest.Test(t, func(t *testing.T) {
		p := &plane{t: t, store: memory.New(), people: &people{}}
		defer p.store.Close()
		log := slog.New(slog.DiscardHandler)
		d := dispatch.New(dispatch.Config{Store: p.store, Clock: clock.System{}, Credentials: minter{}, Log: log})
		p.book = fleet.New(p.store, func(int) int { return 0 })
		svc := ecs.New(ecs.Config{Store: p.store, Reports: d, Placer: p.book, Documents: trusting{}})
		cfg := agentws.Config{Store: p.store, Dispatcher: d, Owner: svc, Clock: clock.System{}, Log: log}
		g := gateway.New(gateway.Config{
			Services: []gateway.Service{gateway.Bind(apiecs.New(svc), svc)}, Credentials: p.people, Authorizer: p.people, Account: account,
			Signed: map[string]gateway.Signed{
				ecs.AgentControlPath:   {SigningName: "ecs", Handler: agentws.NewControl(cfg)},
				ecs.AgentTelemetryPath: {SigningName: "ecs", Handler: agentws.NewTelemetry(cfg)},
			},
		})
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(context.Background())
		server := &http.Server{Handler: g, BaseContext: func(net.Listener) context.Context { return ctx }}
		transport := &http.Transport{DialContext: l.dial, DisableKeepAlives: true}
		p.client, p.dial = &http.Client{Transport: transport}, l.dial
		ended := make(chan error, 3)
		go func() { ended <- p.book.Run(ctx) }()
		go func() { ended <- d.Run(ctx) }()
		go func() { ended <- server.Serve(l) }()
		f(p)
		cancel()
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		for range 3 {
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
		synctest.Wait()
	})
}

func (p *plane) sign(req *http.Request, key string, body []byte) {
	p.t.Helper()
	sum := sha256.Sum256(body)
	err := v4.NewSigner().SignHTTP(p.t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, req, hex.EncodeToString(sum[:]), "ecs", region, time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
}

// call calls an operation as the user key does; body is the request's JSON.
func (p *plane) call(key, operation, body string) (status int, answer map[string]any) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+host+"/", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113."+operation)
	p.sign(req, key, []byte(body))
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	if err != nil {
		p.t.Fatalf("%s: %v: %s", operation, err, b)
	}
	return resp.StatusCode, answer
}

// must is call for what is to succeed.
func (p *plane) must(key, operation, body string) map[string]any {
	p.t.Helper()
	status, answer := p.call(key, operation, body)
	if status != http.StatusOK {
		p.t.Fatalf("%s: %d %v", operation, status, answer)
	}
	return answer
}

// stock is the published agent's end of a websocket.
type stock struct {
	p    *plane
	conn *websocket.Conn
}

// connect opens a websocket as the published agent does; a refusal is the
// answer's status and body.
func (p *plane) connect(key, endpoint string, query url.Values) (a *stock, status int, body string) {
	p.t.Helper()
	address := endpoint + "/ws?" + query.Encode()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.sign(req, key, nil)
	conn, resp, err := websocket.Dial(p.t.Context(), address, &websocket.DialOptions{HTTPClient: p.client, HTTPHeader: req.Header})
	if err != nil {
		if resp == nil {
			p.t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		return nil, resp.StatusCode, string(b)
	}
	return &stock{p, conn}, http.StatusSwitchingProtocols, ""
}

// next reads frames until one of the type, and gives its message.
func (a *stock) next(kind string) map[string]any {
	a.p.t.Helper()
	ctx, cancel := context.WithTimeout(a.p.t.Context(), 10*time.Minute)
	defer cancel()
	for {
		_, b, err := a.conn.Read(ctx)
		if err != nil {
			a.p.t.Fatalf("waiting for %s: %v", kind, err)
		}
		var f struct {
			Type    string
			Message map[string]any
		}
		if err := json.Unmarshal(b, &f); err != nil {
			a.p.t.Fatal(err)
		}
		if f.Type == kind {
			return f.Message
		}
		if f.Type == "HeartbeatMessage" && f.Message["messageId"] != nil {
			a.send("HeartbeatAckRequest", map[string]any{"messageId": f.Message["messageId"]})
		}
	}
}

func (a *stock) send(kind string, message any) {
	a.p.t.Helper()
	b, err := json.Marshal(map[string]any{"type": kind, "message": message})
	if err == nil {
		err = a.conn.Write(a.p.t.Context(), websocket.MessageText, b)
	}
	if err != nil {
		a.p.t.Fatal(err)
	}
}

// publish sends a telemetry frame, with headers before it.
func (a *stock) publish(kind string, message any) {
	a.p.t.Helper()
	b, err := json.Marshal(map[string]any{"type": kind, "message": message})
	head := "Host: " + host + "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=x\r\nX-Amz-Date: 20260101T000000Z\r\n\r\n"
	if err == nil {
		err = a.conn.Write(a.p.t.Context(), websocket.MessageText, append([]byte(head), b...))
	}
	if err != nil {
		a.p.t.Fatal(err)
	}
}

// registration is what the published agent sends off EC2.
const registration = `{"cluster":"default","clientToken":"6e0b1f6e-3f1a-4b0f-8a11-2f9f4f7c1d2e","instanceIdentityDocument":"","instanceIdentityDocumentSignature":"",
 "totalResources":[{"name":"CPU","type":"INTEGER","integerValue":2048},{"name":"MEMORY","type":"INTEGER","integerValue":7809},
  {"name":"PORTS","type":"STRINGSET","stringSetValue":["22","2375","2376","51678","51679"]},{"name":"PORTS_UDP","type":"STRINGSET","stringSetValue":[]}],
 "attributes":[{"name":"com.amazonaws.ecs.capability.privileged-container"},{"name":"ecs.capability.task-eni-block-instance-metadata"},
  {"name":"ecs.os-type","value":"linux"},{"name":"ecs.cpu-architecture","value":"x86_64"}],"platformDevices":[]}`

// register registers an instance, and tells its ARN.
func (p *plane) register(key string) string {
	p.t.Helper()
	i := p.must(key, "RegisterContainerInstance", registration)["containerInstance"].(map[string]any)
	return i["containerInstanceArn"].(string)
}

// task puts a task on an instance as whoever places it does.
func (p *plane) task(id, instance, mode string) string {
	p.t.Helper()
	def := &model.TaskDefinition{
		TaskDefinitionARN: model.ECSTaskDefinitionARN(region, account, "web", 1), Family: "web", Revision: 1, NetworkMode: mode, TaskRoleARN: "arn:aws:iam::000000000000:role/task",
		ContainerDefinitions: []model.ContainerDefinition{{Name: "web", Image: "example.com/web:1", Memory: new(64), PortMappings: []model.PortMapping{{ContainerPort: new(80), Protocol: "tcp"}}}},
	}
	t := model.NewTask(model.NewTaskParams{
		Account: account, Region: region, Definition: def, TaskID: id, NewID: func() string { return "id" }, Now: time.Now(),
		Cluster: &model.Cluster{ClusterName: "default", ClusterARN: model.ECSClusterARN(region, account, "default")}, LaunchType: model.LaunchTypeEC2,
	})
	t.Status.LastStatus, t.Status.Node, t.Status.CredentialsID = model.TaskPending, instance[strings.LastIndexByte(instance, '/')+1:], "creds-"+id[:1]
	tx := store.NewTxn()
	tables.ECSTaskDefinitions.Put(tx, account, region, model.TaskDefinitionID("web", 1), def)
	tables.ECSTasks.Put(tx, account, region, "default/"+id, t)
	if _, err := tx.Commit(p.t.Context(), p.store); err != nil {
		p.t.Fatal(err)
	}
	return t.TaskARN
}

func (p *plane) change(id string, change func(*model.Task)) {
	p.t.Helper()
	if _, err := tables.ECSTasks.Update(p.t.Context(), p.store, account, region, "default/"+id, func(t *model.Task) error { change(t); return nil }); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plane) observed(id string) model.TaskObserved {
	p.t.Helper()
	row, err := tables.ECSTasks.Get(p.t.Context(), p.store, account, region, "default/"+id)
	if err != nil {
		p.t.Fatal(err)
	}
	return row.V.Observed
}

func (p *plane) connected(arn string) bool {
	p.t.Helper()
	synctest.Wait()
	out := p.must("agent", "DescribeContainerInstances", `{"cluster":"default","containerInstances":["`+arn+`"]}`)
	return out["containerInstances"].([]any)[0].(map[string]any)["agentConnected"].(bool)
}

func controlQuery(arn string) url.Values {
	return url.Values{
		"clusterArn": {"default"}, "containerInstanceArn": {arn}, "agentHash": {"1234abcd"}, "agentVersion": {"1.105.0"}, "seqNum": {"1"},
		"protocolVersion": {"2"}, "dockerVersion": {"25.0.6"}, "sendCredentials": {"true"},
	}
}

// endpoints asks where to connect, and begins.
func (p *plane) begin(key string) (arn, control, telemetry string) {
	p.t.Helper()
	if status, answer := p.call(key, "RegisterContainerInstance", registration); status != http.StatusBadRequest || answer["__type"] != "ClusterNotFoundException" {
		p.t.Fatal(status, answer)
	}
	p.must(key, "CreateCluster", `{"clusterName":"default"}`)
	arn = p.register(key)
	e := p.must(key, "DiscoverPollEndpoint", `{"containerInstance":"`+arn+`","cluster":"default","zoneId":""}`)
	return arn, e["endpoint"].(string), e["telemetryEndpoint"].(string)
}

// A conversation with the published agent, from its first request to a task's
// end.
func TestConversation(t *testing.T) {
	withPlane(t, func(p *plane) {
		arn, control, telemetry := p.begin("agent")
		id, other := strings.Repeat("a", 32), strings.Repeat("b", 32)
		task := p.task(id, arn, "bridge")

		a, _, _ := p.connect("agent", control, controlQuery(arn))
		payload := a.next("PayloadMessage")
		got := payload["tasks"].([]any)[0].(map[string]any)
		creds := got["roleCredentials"].(map[string]any)
		if got["arn"] != task || got["networkMode"] != "bridge" || creds["credentialsId"] != "creds-a" || payload["containerInstanceArn"] != arn ||
			payload["clusterArn"] != model.ECSClusterARN(region, account, "default") {
			t.Errorf("%v", payload)
		}
		if !p.connected(arn) {
			t.Error("the agent is not connected")
		}

		// A payload that is not acknowledged comes again.
		repeated := a.next("PayloadMessage")
		if repeated["messageId"] == payload["messageId"] || repeated["tasks"].([]any)[0].(map[string]any)["arn"] != task {
			t.Errorf("%v", repeated)
		}
		a.send("IAMRoleCredentialsAckRequest", map[string]any{"messageId": repeated["messageId"], "credentialsId": "creds-a", "expiration": creds["expiration"]})
		a.send("AckRequest", map[string]any{"cluster": "default", "containerInstance": arn, "messageId": repeated["messageId"]})

		// Reports, twice and in the wrong order.
		running := `{"cluster":"default","task":"` + task + `","status":"RUNNING","containers":[{"containerName":"web","runtimeId":"abc","status":"RUNNING",
			"networkBindings":[{"bindIP":"0.0.0.0","containerPort":80,"hostPort":32768,"protocol":"tcp"}]}]}`
		stopped := `{"cluster":"default","task":"` + task + `","status":"STOPPED","reason":"Essential container in task exited","containers":[{"containerName":"web","status":"STOPPED","exitCode":3}]}`
		p.must("agent", "SubmitTaskStateChange", running)
		p.must("agent", "SubmitTaskStateChange", running)
		if o := p.observed(id); o.Status != "RUNNING" || *o.Containers[0].NetworkBindings[0].HostPort != 32768 {
			t.Errorf("%+v", o)
		}
		if status, answer := p.call("mallory", "SubmitTaskStateChange", stopped); status != http.StatusBadRequest || answer["__type"] != "AccessDeniedException" {
			t.Error(status, answer)
		}
		if o := p.observed(id); o.Status != "RUNNING" {
			t.Error("a forged report counts")
		}

		// Telemetry.
		m, _, _ := p.connect("agent", telemetry, url.Values{"cluster": {"default"}, "containerInstance": {arn}, "agentVersion": {"1.105.0"}, "agentHash": {"1234abcd"}, "dockerVersion": {"25.0.6"}})
		metadata := map[string]any{"cluster": "default", "containerInstance": arn, "messageId": "m1", "idle": false, "fin": true}
		m.publish("PublishMetricsRequest", map[string]any{"metadata": metadata, "taskMetrics": []any{}, "timestamp": 1767225600.5})
		m.next("AckPublishMetric")
		health := map[string]any{"taskArn": task, "containers": []any{map[string]any{"containerName": "web", "healthStatus": "HEALTHY", "statusSince": 1767225600.0}}}
		theirs := map[string]any{"taskArn": model.ECSTaskARN(region, account, "default", other), "containers": health["containers"]}
		m.publish("PublishHealthRequest", map[string]any{"metadata": metadata, "tasks": []any{theirs, health}, "timestamp": 1767225600.5})
		m.next("AckPublishHealth")
		if o := p.observed(id); o.HealthStatus != "HEALTHY" || o.Containers[0].HealthStatus != "HEALTHY" {
			t.Errorf("%+v", o)
		}
		m.publish("PublishInstanceStatusRequest", map[string]any{"metadata": map[string]any{"requestId": "r"}, "statuses": []any{map[string]any{"type": "CONTAINER_RUNTIME", "status": "IMPAIRED"}}})
		m.next("AckPublishInstanceStatus")
		out := p.must("agent", "DescribeContainerInstances", `{"cluster":"default","containerInstances":["`+arn+`"],"include":["CONTAINER_INSTANCE_HEALTH"]}`)
		if h := out["containerInstances"].([]any)[0].(map[string]any)["healthStatus"].(map[string]any); h["overallStatus"] != "IMPAIRED" {
			t.Error(h)
		}
		m.next("HeartbeatMessage")

		// The end of the task.
		p.change(id, func(t *model.Task) { t.Status.LastStatus = model.TaskStopping })
		stop := a.next("PayloadMessage")
		if got := stop["tasks"].([]any)[0].(map[string]any); got["arn"] != task || got["desiredStatus"] != "STOPPED" {
			t.Errorf("%v", got)
		}
		a.send("AckRequest", map[string]any{"cluster": "default", "containerInstance": arn, "messageId": stop["messageId"]})
		p.must("agent", "SubmitTaskStateChange", stopped)
		p.must("agent", "SubmitTaskStateChange", running)
		if o := p.observed(id); o.Status != "STOPPED" || *o.Containers[0].ExitCode != 3 {
			t.Errorf("%+v", o)
		}
		_ = m.conn.CloseNow()
		_ = a.conn.CloseNow()
		if p.connected(arn) {
			t.Error("the agent is still connected")
		}
	})
}

// Who comes back hears of all that is its own, and may ask what else to stop.
func TestReconnect(t *testing.T) {
	withPlane(t, func(p *plane) {
		arn, control, _ := p.begin("agent")
		task := p.task(strings.Repeat("a", 32), arn, "bridge")
		first, _, _ := p.connect("agent", control, controlQuery(arn))
		before := first.next("TaskManifestMessage")
		second, _, _ := p.connect("agent", control, controlQuery(arn))
		if _, _, err := first.conn.Read(p.t.Context()); err == nil {
			for err == nil {
				_, _, err = first.conn.Read(p.t.Context())
			}
		}
		if !p.connected(arn) {
			t.Error("the end of the old connection counts for the new one")
		}
		manifest := second.next("TaskManifestMessage")
		if manifest["timeline"].(float64) <= before["timeline"].(float64) || manifest["tasks"].([]any)[0].(map[string]any)["taskArn"] != task {
			t.Errorf("%v after %v", manifest, before)
		}
		gone := model.ECSTaskARN(region, account, "default", strings.Repeat("f", 32))
		second.send("TaskStopVerificationMessage", map[string]any{"messageId": manifest["messageId"], "stopCandidates": []any{
			map[string]any{"taskArn": task, "desiredStatus": "STOPPED"}, map[string]any{"taskArn": gone, "desiredStatus": "STOPPED"},
		}})
		ack := second.next("TaskStopVerificationAck")
		if stop := ack["stopTasks"].([]any); ack["messageId"] != manifest["messageId"] || len(stop) != 1 || stop[0].(map[string]any)["taskArn"] != gone {
			t.Errorf("%v", ack)
		}
		_ = second.conn.CloseNow()
	})
}

// An agent that says nothing any more is not connected.
func TestSilence(t *testing.T) {
	withPlane(t, func(p *plane) {
		arn, control, _ := p.begin("agent")
		a, _, _ := p.connect("agent", control, controlQuery(arn))
		defer func() { _ = a.conn.CloseNow() }()
		ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
		defer cancel()
		begun, beats := time.Now(), 0
		for {
			_, b, err := a.conn.Read(ctx) // no answer to what comes
			if err != nil {
				break
			}
			if bytes.Contains(b, []byte("HeartbeatMessage")) {
				beats++
			}
		}
		if d := time.Since(begun); d != 90*time.Second || beats < 2 {
			t.Errorf("ended after %s and %d heartbeats", d, beats)
		}
		if p.connected(arn) {
			t.Error("still connected")
		}
	})
}

func TestRefusedConnections(t *testing.T) {
	withPlane(t, func(p *plane) {
		arn, control, telemetry := p.begin("agent")
		refused := func(key, endpoint string, q url.Values, status int, want string) {
			t.Helper()
			a, got, body := p.connect(key, endpoint, q)
			if a != nil {
				_ = a.conn.CloseNow()
			}
			if got != status || !strings.Contains(body, want) {
				t.Errorf("%d %s, want %d %s", got, body, status, want)
			}
		}
		refused("mallory", control, controlQuery(arn), http.StatusBadRequest, "is not the agent of the container instance")
		refused("mallory", telemetry, url.Values{"containerInstance": {arn}}, http.StatusBadRequest, "is not the agent of the container instance")
		refused("agent", control, controlQuery("nonsense"), http.StatusBadRequest, "Invalid container instance")
		other := controlQuery(arn)
		other.Set("clusterArn", "other")
		refused("agent", control, other, http.StatusBadRequest, "is not of cluster other")
		p.people.denied = "ecs:Poll"
		refused("agent", control, controlQuery(arn), http.StatusBadRequest, "is not authorized to perform: ecs:Poll on resource: "+arn)
		p.people.denied = ""
		p.must("agent", "DeregisterContainerInstance", `{"cluster":"default","containerInstance":"`+arn+`"}`)
		refused("agent", control, controlQuery(arn), http.StatusBadRequest, `{"InactiveInstanceException":`)
		resp, err := p.client.Get(control + "/ws?" + controlQuery(arn).Encode()) //nolint:noctx // a stranger's request
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); !bytes.Contains(b, []byte("MissingAuthenticationToken")) {
			t.Errorf("%s", b)
		}
	})
}
