package codec

import (
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func outNode(t testing.TB) *typed.Node {
	t.Helper()
	s := restService()

	for i := range s.Operations {
		if o := s.Operations[i].OutputShape(); o != nil && o.GoType() == reflect.TypeFor[tagOutput]() {
			return typed.Of(o)
		}
	}
	t.Fatal("the service has no such shape")
	return nil
}

func TestCBORRoundTrip(t *testing.T) {
	since := time.UnixMilli(1700000000123).UTC()
	in := tagOutput{
		Status: new(int32(-5)), Name: new("naïve"), Since: &since, Items: []string{"a", ""},
		Tags: map[string]string{"k": "v", "a": "b"}, Blob: []byte{0, 255}, Ratio: new(0.5),
	}
	var e cborEncoder
	e.structure(outNode(t), reflect.ValueOf(in), false)
	var out tagOutput
	d := cborDecoder{b: e.b}
	if err := d.value(outNode(t), reflect.ValueOf(&out).Elem()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	if d.i != len(d.b) {
		t.Error("there is more")
	}
}

// TestCBORForms holds that each of the ways to write a value is understood.
func TestCBORForms(t *testing.T) {
	name := func(wire string) string {
		for _, f := range outNode(t).Fields {
			if f.Member.Name == wire || f.Member.Wire() == wire {
				return f.Member.Wire()
			}
		}
		t.Fatalf("no member %s", wire)
		return ""
	}
	one := func(member, value string) []byte {
		e := cborEncoder{}
		e.head(cborMap, 1)
		e.text(name(member))
		return append(e.b, unhex(t, value)...)
	}
	var ratio, since, items string
	for _, f := range outNode(t).Fields {
		switch f.Node.Shape.Kind {
		case api.Double:
			ratio = f.Member.Name
		case api.Timestamp:
			since = f.Member.Name
		case api.List:
			items = f.Member.Name
		default:
		}
	}
	decode := func(b []byte) (out tagOutput, err error) {
		d := cborDecoder{b: b}
		err = d.value(outNode(t), reflect.ValueOf(&out).Elem())
		return out, err
	}
	for value, want := range map[string]float64{"f93e00": 1.5, "fa3fc00000": 1.5, "fb3ff8000000000000": 1.5, "02": 2, "21": -2, "1903e8": 1000, "f90001": 5.960464477539063e-8} {
		if out, err := decode(one(ratio, value)); err != nil || out.Ratio == nil || *out.Ratio != want {
			t.Errorf("%s: %v %v", value, out.Ratio, err)
		}
	}
	for value, want := range map[string]int64{"c11a6553f100": 1700000000000, "c1fb41d954fc4007df3b": 1700000000123, "1a6553f100": 1700000000000} {
		if out, err := decode(one(since, value)); err != nil || out.Since == nil || out.Since.UnixMilli() != want {
			t.Errorf("%s: %v %v", value, out.Since, err)
		}
	}
	for _, value := range []string{"8261616162", "9f61616162ff", "9f7f6161ff6162ff"} {
		if out, err := decode(one(items, value)); err != nil || !reflect.DeepEqual(out.Items, []string{"a", "b"}) {
			t.Errorf("%s: %v %v", value, out.Items, err)
		}
	}
	if out, err := decode(unhex(t, "bf656f74686572a1616182f6c101ff")); err != nil || !reflect.DeepEqual(out, tagOutput{}) {
		t.Errorf("an unknown member: %+v %v", out, err)
	}
	for _, bad := range []string{"", "a1", "a16161", "ff", "a1ff", "5f", "bf", "a1f6f6", "1c", "7bffffffffffffffff"} {
		if _, err := decode(unhex(t, bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if _, err := decode(one(ratio, "6161")); api.Code(err) != "SerializationException" {
		t.Errorf("a text for a number: %v", err)
	}
}

func FuzzCBOR(f *testing.F) {
	for _, s := range []string{"a0", "bfff", "a16161f6", "bf656f74686572a1616182f6c101ff", "9f9f9f9f", "c1c1c1c1"} {
		f.Add(unhex(f, s))
	}
	n := outNode(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var out tagOutput
		d := cborDecoder{b: b}
		if d.value(n, reflect.ValueOf(&out).Elem()) != nil {
			return
		}
		// What was understood is written and understood again.
		var e cborEncoder
		e.structure(n, reflect.ValueOf(out), false)
		var again tagOutput
		d = cborDecoder{b: e.b}
		if err := d.value(n, reflect.ValueOf(&again).Elem()); err != nil {
			t.Fatalf("%x: %v", e.b, err)
		}
	})
}
