package agent

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func TestSettingsFrom(t *testing.T) {
	s, err := SettingsFrom(func(name string) string {
		return map[string]string{
			"ECS_CLUSTER": "c", "ECS_RESERVED_PORTS": "[22, 80]", "ECS_RESERVED_PORTS_UDP": "[53]", "ECS_INSTANCE_ATTRIBUTES": `{"a":"b"}`,
			"ECS_CONTAINER_STOP_TIMEOUT": "2m", "ECS_IMAGE_PULL_BEHAVIOR": "prefer-cached", "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "true", "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM": "ec2_instance",
		}[name]
	})
	if err != nil || s.Cluster != "c" || !slices.Equal(s.ReservedPorts, []int{22, 80}) || !slices.Equal(s.ReservedUDPPorts, []int{53}) || s.Attributes["a"] != "b" {
		t.Errorf("%+v, %v", s, err)
	}
	if s.StopTimeout != 2*time.Minute || !s.CachedImages || !s.SpotDraining || !s.InstanceTags {
		t.Errorf("%+v", s)
	}
	if s, err := SettingsFrom(func(string) string { return "" }); err != nil || s.Cluster != "default" || s.StopTimeout != 30*time.Second || s.CachedImages || s.SpotDraining || s.InstanceTags {
		t.Errorf("defaults: %+v, %v", s, err)
	}
	if got := Unheeded([]string{"ECS_CLUSTER=a", "ECS_UPDATES_ENABLED=true", "PATH=x", "ECS_A"}); !slices.Equal(got, []string{"ECS_A", "ECS_UPDATES_ENABLED"}) {
		t.Errorf("not acted upon: %q", got)
	}
	for name, value := range map[string]string{
		"ECS_RESERVED_PORTS": "[0]", "ECS_RESERVED_PORTS_UDP": "53", "ECS_RESERVED_MEMORY": "-1", "ECS_INSTANCE_ATTRIBUTES": "a=b", "ECS_CONTAINER_INSTANCE_TAGS": "[]",
		"ECS_CONTAINER_STOP_TIMEOUT": "10", "ECS_IMAGE_PULL_BEHAVIOR": "never", "ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM": "vpc",
	} {
		if _, err := SettingsFrom(func(n string) string {
			if n == name {
				return value
			}
			return ""
		}); err == nil {
			t.Errorf("%s=%s is accepted", name, value)
		}
	}
}

func TestCapacity(t *testing.T) {
	for _, tt := range []struct {
		quota, period string
		want          int
	}{{"max", "100000", 4096}, {"-1", "100000", 4096}, {"200000", "100000", 2048}, {"900000", "100000", 4096}} {
		if got := limitUnits(4096, tt.quota, tt.period); got != tt.want {
			t.Errorf("%s/%s: %d, want %d", tt.quota, tt.period, got, tt.want)
		}
	}
	if n, err := memTotal([]byte("MemFree: 1 kB\nMemTotal:   2048 kB\n")); n != 2<<20 || err != nil {
		t.Error(n, err)
	}
	if _, err := memTotal(nil); err == nil {
		t.Error("no memory is some")
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add(400, []byte(`{"InactiveInstanceException":"x"}`))
	f.Add(403, []byte(`{"__type":"com.amazonaws#AccessDeniedException","Message":"no"}`))
	f.Add(500, []byte(`[`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if refusal(status, body, errAged) == nil {
			t.Error("a refusal is none")
		}
		var v map[string]any
		if e := apiError("X", status, body).(*Error); json.Valid(body) && json.Unmarshal(body, &v) == nil && e.Status != status { //nolint:errorlint // its own type
			t.Error(e)
		}
	})
}
