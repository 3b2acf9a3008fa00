package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"roadstead.dev/internal/gateway/throttle"
)

// options are the settings that the commands share. Each flag can be given by
// an environment variable too: --data-dir is ROADSTEAD_DATA_DIR.
type options struct {
	dataDir    string
	listen     string
	accountID  string
	region     string
	engine     string
	containerd string
	store      string
	hostsFile  string
	tlsNames   string
	throttle   string
	// scalingPeriod is a duration.
	scalingPeriod string
	// elbLogPeriod is a duration.
	elbLogPeriod string
	// registryMirrors lead upstream registries elsewhere: HOST=URL,…
	registryMirrors string
	rootKey         string
	rootSecret      string
}

// Engines that --engine names.
const (
	engineContainerd = "containerd"
	engineFake       = "fake"
)

func defaultOptions() *options {
	dir := "/var/lib/roadstead"
	if os.Geteuid() != 0 {
		if home, err := os.UserHomeDir(); err == nil {
			dir = filepath.Join(home, ".local/share/roadstead")
		}
	}
	return &options{
		dataDir:   dir,
		listen:    "127.0.0.1:4566",
		accountID: "000000000000",
		region:    "us-east-1",
		engine:    engineContainerd,
		hostsFile: "/etc/hosts",

		scalingPeriod: "1m",
		elbLogPeriod:  "5m",
	}
}

func (o *options) bind(f *pflag.FlagSet) {
	str := func(p *string, name, usage string) {
		env := "ROADSTEAD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if v, ok := os.LookupEnv(env); ok {
			*p = v
		}
		f.StringVar(p, name, *p, usage+" ["+env+"]")
	}
	str(&o.dataDir, "data-dir", "folder for records, images and logs")
	str(&o.listen, "listen", "address of the API endpoint")
	str(&o.accountID, "account-id", "account of the built-in root credentials")
	str(&o.region, "region", "region that is set up at the start, and that env names")
	str(&o.engine, "engine", "what runs tasks: containerd, or fake (nothing runs; needs no root)")
	str(&o.containerd, "containerd", "address of containerd; empty means the machine's own, else one that roadstead starts")
	str(&o.store, "store", "where records are kept, bolt:PATH; empty means a file in the data folder")
	str(&o.hostsFile, "hosts-file", "hosts file to keep names of load balancers and registries in; no leaves it alone")
	str(&o.throttle, "throttle", "limits of API requests for each account, region and operation: aws (what AWS publishes), off, requests a second such as 20 or 20/100 (with bursts), or a file of rules; empty means some that nobody meets")
	str(&o.scalingPeriod, "scaling-period", "how often capacity providers decide on their groups: a minute, as on AWS, or less for tests, such as 2s; groups shrink after 15 of them")
	str(&o.elbLogPeriod, "elb-log-period", "how often load balancers' logs are delivered to buckets: five minutes, as on AWS, or less for tests, such as 2s; below a minute, metrics come as often")
	str(&o.registryMirrors, "registry-mirror", "where pull through cache rules find an upstream registry instead: HOST=URL, and more of them after commas")
	str(&o.tlsNames, "tls-names", "further names and addresses, between commas, that HTTPS is to answer to")
	str(&o.rootKey, "root-access-key", "access key of the account's root; needed when listening beyond loopback")
	str(&o.rootSecret, "root-secret-key", "secret key of the account's root")
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
)

// scaling is the period of capacity providers' decisions, which check has
// checked.
func (o *options) scaling() time.Duration {
	d, _ := time.ParseDuration(o.scalingPeriod)
	return d
}

// logPeriod is how often load balancers' logs are delivered, metricPeriod how
// often their metrics are made.
func (o *options) logPeriod() time.Duration {
	d, _ := time.ParseDuration(o.elbLogPeriod)
	return d
}

func (o *options) metricPeriod() time.Duration { return min(o.logPeriod(), time.Minute) }

// check says what is wrong with the settings of a server.
func (o *options) check() error {
	if !accountPattern.MatchString(o.accountID) {
		return fmt.Errorf("--account-id %q: an account is twelve digits", o.accountID)
	}
	if !regionPattern.MatchString(o.region) {
		return fmt.Errorf("--region %q: not a region's name, such as us-east-1", o.region)
	}
	if o.engine != engineContainerd && o.engine != engineFake {
		return fmt.Errorf("--engine %q: use containerd or fake", o.engine)
	}
	if o.engine == engineContainerd && os.Geteuid() != 0 {
		return fmt.Errorf("running containers needs root: use sudo, or --engine fake to serve the APIs with tasks that only pretend to run")
	}
	if (o.rootKey == "") != (o.rootSecret == "") {
		return fmt.Errorf("--root-access-key and --root-secret-key go together")
	}
	if _, err := throttle.Parse(o.throttle); err != nil {
		return fmt.Errorf("--throttle: %w", err)
	}
	if d, err := time.ParseDuration(o.scalingPeriod); err != nil || d < 100*time.Millisecond || d > time.Hour {
		return fmt.Errorf("--scaling-period %q: use a time from 100ms to 1h, such as 2s", o.scalingPeriod)
	}
	if d, err := time.ParseDuration(o.elbLogPeriod); err != nil || d < 100*time.Millisecond || d > time.Hour {
		return fmt.Errorf("--elb-log-period %q: use a time from 100ms to 1h, such as 2s", o.elbLogPeriod)
	}
	if _, err := mirrorHosts(o.registryMirrors); err != nil {
		return fmt.Errorf("--registry-mirror: %w", err)
	}
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return fmt.Errorf("--listen %q: %w", o.listen, err)
	}
	if !loopback(host) && o.rootKey == "" {
		return fmt.Errorf("--listen %s is reachable by others, for whom the key test/test would be root: give --root-access-key and --root-secret-key", o.listen)
	}
	if err := checkTLSNames(o.tlsNames); err != nil {
		return err
	}
	if kind, path, ok := strings.Cut(o.storeAddress(), ":"); !ok || kind != "bolt" || path == "" {
		return fmt.Errorf("--store %q: use bolt:PATH", o.store)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// builtinKey tells whether test/test is the account's root.
func (o *options) builtinKey() bool { return o.rootKey == "" }

// rootCredentials are what env prints.
func (o *options) rootCredentials() (key, secret string) {
	if o.builtinKey() {
		return "test", "test"
	}
	return o.rootKey, o.rootSecret
}

func (o *options) storeAddress() string {
	if o.store != "" {
		return o.store
	}
	return "bolt:" + filepath.Join(o.dataDir, "roadstead.db")
}

// absDataDir is the data folder's one true name, by which the instance knows
// what on the machine is its own.
func (o *options) absDataDir() string {
	abs, err := filepath.Abs(o.dataDir)
	if err != nil {
		abs = o.dataDir
	}
	if resolved, err := filepath.EvalSymlinks(abs); err == nil {
		abs = resolved
	}
	return abs
}

// throttleSetting is --throttle for a process in another folder.
func (o *options) throttleSetting() string {
	if _, err := os.Stat(o.throttle); err != nil {
		return o.throttle // no file
	}
	if abs, err := filepath.Abs(o.throttle); err == nil {
		return abs
	}
	return o.throttle
}

// prefix marks what this instance makes on the machine: namespaces,
// interfaces, nftables tables. It is short, since interface names are.
func (o *options) prefix() string {
	sum := sha256.Sum256([]byte(o.absDataDir()))
	return "rs" + hex.EncodeToString(sum[:])[:6]
}

// port is the port of --listen.
func (o *options) port() string {
	_, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return "4566"
	}
	return port
}

// endpoint is the URL that clients on this machine use.
func (o *options) endpoint() string { return "http://" + o.localAddress() }

// secureEndpoint is the same with HTTPS, which the same port serves.
func (o *options) secureEndpoint() string { return "https://" + o.localAddress() }

// localAddress is the address that clients on this machine connect to.
func (o *options) localAddress() string {
	host, port, err := net.SplitHostPort(o.listen)
	if err != nil || host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
