package node

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model/acs"
)

// get asks the endpoint from an address.
func (r *rig) get(vpc, from, path string) (int, map[string]any) {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodGet, "http://169.254.170.2"+path, nil)
	req.RemoteAddr = from + ":40000"
	w := httptest.NewRecorder()
	r.node.Metadata(vpc).ServeHTTP(w, req)
	var m map[string]any
	if strings.HasPrefix(w.Body.String(), "{") {
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
			r.t.Errorf("%s: %v: %s", path, err, w.Body)
		}
	}
	return w.Code, m
}

func TestMetadata(t *testing.T) {
	run(t, func(r *rig) {
		c := essential("web")
		c.ContainerArn, c.CPU, c.Memory = "arn:container", 128, 256
		c.PortMappings = []acs.PortMapping{{ContainerPort: 80, HostPort: 80, Protocol: "tcp"}}
		c.DockerConfig = acs.NewDockerConfig(acs.DockerContainerConfig{Labels: map[string]string{"mine": "x"}},
			acs.DockerHostConfig{LogConfig: &acs.DockerLogConfig{Type: "awslogs", Config: map[string]string{"awslogs-group": "g"}}})
		r.payload(newTaskMessage(c))
		id := r.id("web")
		code, m := r.get("vpc-1", "172.31.0.10", "/v4/"+id)
		for k, want := range map[string]any{
			"DockerId": id, "Name": "web", "DockerName": "web", "Image": "example.com/web", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
			"Type": "NORMAL", "ContainerARN": "arn:container", "LogDriver": "awslogs",
			"LogOptions": map[string]any{"awslogs-group": "g"}, "Limits": map[string]any{"CPU": 128.0, "Memory": 256.0},
			"Ports": []any{map[string]any{"ContainerPort": 80.0, "HostPort": 80.0, "Protocol": "tcp"}},
			"Labels": map[string]any{
				"mine": "x", "com.amazonaws.ecs.cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/default",
				"com.amazonaws.ecs.container-name": "web", "com.amazonaws.ecs.task-arn": arn,
				"com.amazonaws.ecs.task-definition-family": "web", "com.amazonaws.ecs.task-definition-version": "3",
			},
			"Networks": []any{map[string]any{
				"NetworkMode": "awsvpc", "IPv4Addresses": []any{"172.31.0.10"}, "AttachmentIndex": 0.0, "MACAddress": "0a:00:00:00:00:01",
				"IPv4SubnetCIDRBlock": "172.31.0.0/20", "DomainNameServers": []any{"172.31.0.2"}, "DomainNameSearchList": []any{"ec2.internal"},
				"PrivateDNSName": "ip-172-31-0-10.ec2.internal", "SubnetGatewayIpv4Address": "172.31.0.1/20",
			}},
		} {
			if d := cmp.Diff(want, m[k]); code != 200 || d != "" {
				t.Errorf("status %d, %s: %s", code, k, d)
			}
		}
		code, m = r.get("vpc-1", "172.31.0.10", "/v4/"+id+"/task")
		for k, want := range map[string]any{
			"TaskARN": arn, "Family": "web", "Revision": "3", "KnownStatus": "RUNNING", "LaunchType": "FARGATE", "VPCID": "vpc-1",
			"Limits": map[string]any{"CPU": 0.25, "Memory": 512.0},
		} {
			if d := cmp.Diff(want, m[k]); code != 200 || d != "" {
				t.Errorf("status %d, %s: %s", code, k, d)
			}
		}
		if m["PullStartedAt"] == nil || len(m["Containers"].([]any)) != 1 {
			t.Errorf("%v", m)
		}
		if code, m = r.get("vpc-1", "172.31.0.10", "/v3/"+id+"/task"); code != 200 || m["LaunchType"] != nil || m["TaskARN"] != arn {
			t.Errorf("v3: %d, %v", code, m)
		}
		if code, m = r.get("vpc-1", "172.31.0.10", "/v4/"+id+"/stats"); code != 200 || m["id"] != id || m["memory_stats"] == nil {
			t.Errorf("stats: %d, %v", code, m)
		}
		if code, m = r.get("vpc-1", "172.31.0.10", "/v4/"+id+"/task/stats"); code != 200 || m[id] == nil {
			t.Errorf("task stats: %d, %v", code, m)
		}
		for _, c := range []struct{ vpc, from, path string }{
			{"vpc-1", "172.31.0.11", "/v4/" + id}, // another address
			{"vpc-2", "172.31.0.10", "/v4/" + id}, // the same address in another VPC
			{"vpc-1", "172.31.0.10", "/v4/other"},
			{"vpc-1", "172.31.0.10", "/nothing"},
		} {
			if code, _ := r.get(c.vpc, c.from, c.path); code != http.StatusNotFound {
				t.Errorf("%+v: %d", c, code)
			}
		}
	})
}

func TestCredentials(t *testing.T) {
	run(t, func(r *rig) {
		r.payload(newTaskMessage(essential("web")))
		want := map[string]any{
			"RoleArn": "arn:aws:iam::000000000000:role/r", "AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "t", "Expiration": "2030-01-01T00:00:00Z",
		}
		code, m := r.get("vpc-1", "172.31.0.10", "/v2/credentials/cred")
		if d := cmp.Diff(want, m); code != 200 || d != "" {
			t.Error(code, d)
		}
		r.send(&acs.IAMRoleCredentialsMessage{MessageID: "x", TaskArn: arn, RoleType: acs.RoleTypeTaskApplication, RoleCredentials: &acs.IAMRoleCredentials{
			CredentialsID: "cred", RoleArn: "arn:aws:iam::000000000000:role/r", AccessKeyID: "ASIB", SecretAccessKey: "s2", SessionToken: "t2", Expiration: "2031-01-01T00:00:00Z",
		}})
		if _, m := r.get("vpc-1", "172.31.0.10", "/v2/credentials/cred"); m["AccessKeyId"] != "ASIB" {
			t.Errorf("not refreshed: %v", m)
		}
		r.restart()
		if _, m := r.get("vpc-1", "172.31.0.10", "/v2/credentials/cred"); m["AccessKeyId"] != "ASIB" {
			t.Errorf("lost in a restart: %v", m)
		}
		for _, c := range []struct{ vpc, from, path, code string }{
			{"vpc-1", "172.31.0.11", "/v2/credentials/cred", "InvalidIdInRequest"},
			{"vpc-2", "172.31.0.10", "/v2/credentials/cred", "InvalidIdInRequest"},
			{"vpc-1", "172.31.0.10", "/v2/credentials/other", "InvalidIdInRequest"},
			{"vpc-1", "172.31.0.10", "/v2/credentials/", "NoIdInRequest"},
			{"vpc-1", "172.31.0.10", "/v2/credentials", "NoIdInRequest"},
		} {
			if code, m := r.get(c.vpc, c.from, c.path); code != http.StatusBadRequest || m["code"] != c.code {
				t.Errorf("%+v: %d, %v", c, code, m)
			}
		}
		r.payload(stopMessage())
		if code, _ := r.get("vpc-1", "172.31.0.10", "/v2/credentials/cred"); code != http.StatusBadRequest {
			t.Errorf("credentials outlive their task: %d", code)
		}
	})
}
