package agent

import (
	"maps"
	"testing"
)

func TestSettingsInUserData(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"#!/bin/bash\necho ECS_CLUSTER=blue >> /etc/ecs/ecs.config\n":                          {"ECS_CLUSTER": "blue"},
		"cat <<'EOF' >> f\nECS_CLUSTER=a-b_c\nECS_INSTANCE_ATTRIBUTES={\"a\": {\"b\":1}}\nEOF": {"ECS_CLUSTER": "a-b_c", "ECS_INSTANCE_ATTRIBUTES": `{"a": {"b":1}}`},
		"echo 'ECS_RESERVED_PORTS=[22, 80]' >> f; echo \"ECS_CLUSTER=x\" >> f":                 {"ECS_RESERVED_PORTS": "[22, 80]", "ECS_CLUSTER": "x"},
		"printf 'ECS_CLUSTER=x\\n' >f":                                                         {"ECS_CLUSTER": "x"},
		"write_files:\n- content: |\n    ECS_CLUSTER=\"two words\"\n    ECS_CLUSTER=last":      {"ECS_CLUSTER": "last"},
		"ECS_CLUSTER='single'":          {"ECS_CLUSTER": "single"},
		"MY_ECS_CLUSTER=no ECS_CLUSTER": {},
		"ECS_A=":                        {"ECS_A": ""},
	} {
		if got := SettingsInUserData(text); !maps.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzSettingsInUserData(f *testing.F) {
	for _, s := range []string{"ECS_A=b", "ECS_=\"", "ECS_A={", "ECS_A=ECS_B='", "xECS_ECS_A=1"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, text string) { SettingsInUserData(text) })
}
