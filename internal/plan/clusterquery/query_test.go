package clusterquery

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var sample = &Instance{
	AgentConnected: true, AgentVersion: "1.89.2", EC2InstanceID: "i-0abc",
	Attributes: map[string]string{
		"ecs.availability-zone": "us-east-1a", "ecs.instance-type": "t2.small", "ecs.os-type": "linux", "stack": "prod", "gpu": "", "disks": "12",
	},
	RegisteredAt:      time.Date(2026, 3, 4, 5, 6, 7, 890, time.UTC),
	RunningTasksCount: 3,
	TaskGroups:        map[string]int{"service:production": 2, "family:job": 1, "service:gone": 0},
}

func TestSelects(t *testing.T) {
	for _, c := range []struct {
		expression string
		want       bool
	}{
		{"attribute:ecs.instance-type == t2.small", true},
		{"attribute:ecs.instance-type equals t2.small", true},
		{"attribute:ecs.instance-type != t2.small", false},
		{"attribute:ecs.instance-type =~ t2.*", true},
		{"attribute:ecs.instance-type =~ t2", false},
		{"attribute:ecs.instance-type =~ (t2|t3).*", true},
		{"(attribute:ecs.instance-type =~ (t2|t3).*) and attribute:stack == prod", true},
		{"not(attribute:ecs.instance-type =~ t2.*)", false},
		{"attribute:ecs.instance-type !~ g2.*", true},
		{"attribute:ecs.availability-zone in [us-east-1a, us-east-1b]", true},
		{"attribute:ecs.availability-zone in [us-east-1b]", false},
		{"attribute:ecs.availability-zone !in [us-east-1b]", true},
		{"attribute:ecs.availability-zone not_in [us-east-1a,us-east-1b]", false},
		{"attribute:stack exists", true},
		{"attribute:gpu exists", true},
		{"attribute:stack !exists", false},
		{"attribute:nothing not_exists", true},
		{"attribute:nothing == x", false},
		{"attribute:nothing != x", true},
		{"attribute:disks > 9", true},
		{"attribute:stack == \"prod\"", true},
		{"agentConnected == true", true},
		{"agentConnected==True", true},
		{"agentConnected != true", false},
		{"agentVersion > 1.9.0", true},
		{"agentVersion <= 1.89", false},
		{"agentVersion >= 1.89.2", true},
		{"ec2InstanceId in ['i-0abc', 'i-0def']", true},
		{"registeredAt < 2026-03-05", true},
		{"registeredAt == 2026-03-04T05:06:07Z", true},
		{"registeredAt >= 2026-03-04T05:06:08+00:00", false},
		{"runningTasksCount < 4", true},
		{"runningTasksCount >= 4", false},
		{"task:group == service:production", true},
		{"task:group == service:gone", false},
		{"not(task:group == database)", true},
		{"task:group != service:production", false},
		{"task:group in [service:a, family:job]", true},
		{"task:group =~ service:.*", true},
		{"attribute:stack == x or attribute:stack == prod and agentConnected == false", false},
		{"(attribute:stack == x or attribute:stack == prod) && ! agentConnected == false", true},
		{"attribute:stack == prod || attribute:stack == x", true},
	} {
		q, err := Parse(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		if got := q.Selects(sample); got != c.want {
			t.Errorf("%s: %v", c.expression, got)
		}
	}
}

func TestStatic(t *testing.T) {
	for expression, want := range map[string]bool{
		"attribute:stack == prod": true, "agentConnected == true and attribute:a exists": true,
		"attribute:a exists or task:group == x": false, "not (runningTasksCount > 1)": false,
	} {
		q, err := Parse(expression)
		if err != nil {
			t.Fatal(err)
		}
		if q.Static() != want {
			t.Errorf("%s: static %v", expression, !want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, expression := range []string{
		"", "attribute:", "attribute:a", "attribute:a ==", "attribute:a == x y", "stack == prod", "attribute:a is x",
		"attribute:a in x", "attribute:a in [", "attribute:a in []", "attribute:a in [x", "attribute:a =~ (", "attribute:a =~",
		"(attribute:a exists", "attribute:a exists)", "not", "and", "agentConnected == maybe", "agentConnected > true", "agentVersion in [1]",
		"registeredAt > yesterday", "runningTasksCount > many", "task:group exists", `attribute:a == "x`,
		strings.Repeat("(", 1000) + "attribute:a exists" + strings.Repeat(")", 900), "attribute:a == " + strings.Repeat("x", MaxLength),
	} {
		_, err := Parse(expression)
		if _, ok := errors.AsType[*SyntaxError](err); !ok {
			t.Errorf("%.40s: %v", expression, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("attribute:ecs.instance-type =~ (t2|t3).* and not (task:group in [a, 'b'])")
	f.Add("registeredAt >= 2018-06-18 || runningTasksCount != 1 && agentVersion < 1.2")
	f.Add("attribute:a !exists or ec2InstanceId !in [\"x\"]")
	f.Fuzz(func(_ *testing.T, expression string) {
		if q, err := Parse(expression); err == nil {
			q.Selects(sample)
			q.Selects(&Instance{})
		}
	})
}
