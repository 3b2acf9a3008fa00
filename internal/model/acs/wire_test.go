package acs

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTrip(t *testing.T) {
	for name, make := range types {
		m := make()
		if TypeOf(m) != name {
			t.Errorf("%T is %q on the wire, want %q", m, TypeOf(m), name)
		}
		b, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Error(d)
		}
	}
}

func TestDecodeTask(t *testing.T) {
	m, err := Decode([]byte(`{"type":"PayloadMessage","message":{"messageId":"1","tasks":[{"arn":"a","desiredStatus":"RUNNING","cpu":0.25,"memory":512,
		"containers":[{"name":"c","image":"i","essential":true,"environment":{"A":"b"},"dockerConfig":{"hostConfig":"{\"ReadonlyRootfs\":true}","config":"{\"Healthcheck\":{\"Test\":[\"CMD\",\"x\"],\"Interval\":5000000000}}"}}],
		"elasticNetworkInterfaces":[{"ec2Id":"eni-1","ipv4Addresses":[{"privateAddress":"10.0.0.1"},{"privateAddress":"10.0.0.2","primary":true}]}]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	task := m.(*PayloadMessage).Tasks[0]
	config, host, err := task.Containers[0].DockerConfig.Parse()
	if err != nil || !host.ReadonlyRootfs || config.Healthcheck.Interval != 5*time.Second {
		t.Errorf("%+v, %+v, %v", config, host, err)
	}
	if ip := task.ElasticNetworkInterfaces[0].PrimaryIPv4(); ip != "10.0.0.2" {
		t.Error(ip)
	}
}

func TestDecodeRefuses(t *testing.T) {
	if _, err := Decode([]byte(`{"type":"New","message":{}}`)); !errors.Is(err, ErrUnknownType) {
		t.Error(err)
	}
	for _, s := range []string{"", "x", `{"type":"AckRequest","message":7}`} {
		if _, err := Decode([]byte(s)); err == nil || errors.Is(err, ErrUnknownType) && s != `{}` {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for name, make := range types {
		b, err := Encode(make())
		if err != nil {
			f.Fatal(name, err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"type":"PayloadMessage","message":{"tasks":[{"cpu":1e400}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatal(err)
		}
	})
}
