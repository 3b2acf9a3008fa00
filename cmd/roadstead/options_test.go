package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestSettingsAreChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*options)
		want   string // part of the error; empty means none
	}{
		"defaults":                 {func(*options) {}, ""},
		"account":                  {func(o *options) { o.accountID = "12" }, "twelve digits"},
		"region":                   {func(o *options) { o.region = "here" }, "not a region"},
		"engine":                   {func(o *options) { o.engine = "docker" }, "containerd or fake"},
		"half a key":               {func(o *options) { o.rootKey = "AKIA" }, "go together"},
		"address":                  {func(o *options) { o.listen = "4566" }, "--listen"},
		"all addresses, no key":    {func(o *options) { o.listen = "0.0.0.0:4566" }, "--root-access-key"},
		"all addresses by default": {func(o *options) { o.listen = ":4566" }, "--root-access-key"},
		"a public name":            {func(o *options) { o.listen = "example.com:4566" }, "--root-access-key"},
		"all addresses with a key": {func(o *options) { o.listen, o.rootKey, o.rootSecret = "0.0.0.0:4566", "AKIAROOT", "secret" }, ""},
		"IPv6 loopback":            {func(o *options) { o.listen = "[::1]:4566" }, ""},
		"localhost":                {func(o *options) { o.listen = "localhost:4566" }, ""},
		"throttled as by AWS":      {func(o *options) { o.throttle = "aws" }, ""},
		"throttled by nothing":     {func(o *options) { o.throttle = "/no/such/file" }, "--throttle"},
		"a store of another kind":  {func(o *options) { o.store = "etcd:http://localhost" }, "bolt:PATH"},
		"a store somewhere else":   {func(o *options) { o.store = "bolt:/tmp/x.db" }, ""},
		"a store that is nowhere":  {func(o *options) { o.store = "bolt:" }, "bolt:PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			o := defaultOptions()
			o.engine = engineFake // needs no root
			tt.change(o)
			err := o.check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	t.Setenv("ROADSTEAD_REGION", "eu-west-1")
	t.Setenv("ROADSTEAD_DATA_DIR", "/from/environment")
	o := defaultOptions()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.bind(f)
	if err := f.Parse([]string{"--data-dir", "/from/flag"}); err != nil {
		t.Fatal(err)
	}
	if o.region != "eu-west-1" || o.dataDir != "/from/flag" {
		t.Errorf("region %s, data folder %s", o.region, o.dataDir)
	}
}

// A child gets the settings by its environment, all of them.
func TestEnvironmentCarriesEverySetting(t *testing.T) {
	o := defaultOptions()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.bind(f)
	have := map[string]bool{}
	for _, kv := range o.environment() {
		name, _, _ := strings.Cut(kv, "=")
		have[name] = true
	}
	f.VisitAll(func(fl *pflag.Flag) {
		if env := "ROADSTEAD_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_")); !have[env] {
			t.Errorf("--%s does not reach a detached server", fl.Name)
		}
	})
}

func TestInstancesHaveNamesOfTheirOwn(t *testing.T) {
	one, two := defaultOptions(), defaultOptions()
	one.dataDir, two.dataDir = t.TempDir(), t.TempDir()
	if one.prefix() == two.prefix() {
		t.Error("two data folders have one prefix")
	}
	link := t.TempDir() + "/link"
	if err := os.Symlink(one.dataDir, link); err != nil {
		t.Fatal(err)
	}
	two.dataDir = link
	if one.prefix() != two.prefix() {
		t.Error("one data folder has two prefixes")
	}
}

func TestRunStateKnowsAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	if _, err := readRunState(dir); err == nil {
		t.Error("a server runs on an empty folder")
	}
	ticks, err := startTicks(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for given, runs := range map[string]bool{ticks: true, ticks + "0": false} {
		if err := writeRunState(dir, runState{PID: os.Getpid(), Ticks: given}); err != nil {
			t.Fatal(err)
		}
		if _, err := readRunState(dir); (err == nil) != runs {
			t.Errorf("ticks %s of %s: %v", given, ticks, err)
		}
	}
}
