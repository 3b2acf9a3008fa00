// Package doctor looks at the machine and tells what Roadstead finds missing
// on it, and how to mend each thing.
package doctor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Level is how much a finding matters.
type Level int

// A finding is fine, is worth knowing, or keeps containers from running.
const (
	OK Level = iota
	Warning
	Failure
)

func (l Level) String() string { return [...]string{"ok", "warning", "failure"}[l] }

// Finding is the outcome of one check.
type Finding struct {
	Check  string
	Level  Level
	Detail string
	// Remedy says what to do; empty when the level is OK.
	Remedy string
}

// Settings are what the checks need to know of the instance.
type Settings struct {
	DataDir string
	Listen  string
	// Containerd is the configured address, or empty.
	Containerd string
	// Running tells that the instance's own server holds the address.
	Running bool
	// Authority is the certificate of the instance's authority, in PEM; empty
	// when there is none yet.
	Authority []byte
	// Trust knows whether the machine trusts it.
	Trust *Trust
}

type check struct {
	name string
	run  func(Settings) Finding
}

var checks = []check{
	{"root", checkRoot},
	{"capabilities", checkCapabilities},
	{"cgroups", checkCgroups},
	{"overlayfs", checkOverlay},
	{"network namespaces", checkNamespaces},
	{"nftables", checkNftables},
	{"forwarding", checkForwarding},
	{"containerd", checkContainerd},
	{"runc", checkRunc},
	{"disk", checkDisk},
	{"endpoint", checkEndpoint},
	{"https", checkTrust},
}

// Run makes every check, in order.
func Run(s Settings) []Finding {
	out := make([]Finding, 0, len(checks))
	for _, c := range checks {
		f := c.run(s)
		f.Check = c.name
		out = append(out, f)
	}
	return out
}

// Print writes findings for a person, and tells whether none is a failure.
func Print(w io.Writer, fs []Finding) (healthy bool, err error) {
	healthy = true
	for _, f := range fs {
		if _, err := fmt.Fprintf(w, "%-8s %-20s %s\n", f.Level, f.Check, f.Detail); err != nil {
			return false, err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintf(w, "%-8s %-20s → %s\n", "", "", f.Remedy); err != nil {
				return false, err
			}
		}
		healthy = healthy && f.Level != Failure
	}
	return healthy, nil
}

func fine(format string, args ...any) Finding {
	return Finding{Level: OK, Detail: fmt.Sprintf(format, args...)}
}

func checkRoot(Settings) Finding {
	if os.Geteuid() == 0 {
		return fine("running as root")
	}
	return Finding{Level: Failure, Detail: "not root", Remedy: "use sudo; without root, roadstead up --engine fake serves the APIs with tasks that only pretend to run"}
}

// capabilities that containers and networks need, and one that is missed but
// not needed.
var needed = map[int]string{unix.CAP_SYS_ADMIN: "SYS_ADMIN", unix.CAP_NET_ADMIN: "NET_ADMIN", unix.CAP_SYS_CHROOT: "SYS_CHROOT", unix.CAP_SETUID: "SETUID", unix.CAP_MKNOD: "MKNOD"}

func checkCapabilities(Settings) Finding {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Finding{Level: Warning, Detail: err.Error()}
	}
	var effective uint64
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			effective, err = strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			if err != nil {
				return Finding{Level: Warning, Detail: err.Error()}
			}
		}
	}
	var missing []string
	for bit, name := range needed {
		if effective&(1<<bit) == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return Finding{Level: Failure, Detail: "missing " + strings.Join(missing, ", "), Remedy: "run on the host itself or in a privileged container"}
	}
	if effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		return Finding{Level: Warning, Detail: "SYS_RESOURCE is missing", Remedy: "containers run, but ulimits above this process's own hard limits are not raised"}
	}
	return fine("all that are needed")
}

func checkCgroups(Settings) Finding {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
		return Finding{Level: Failure, Detail: err.Error(), Remedy: "mount the cgroup file systems below /sys/fs/cgroup"}
	}
	want := []string{"cpu", "memory", "pids"}
	var have map[string]bool
	version := "v1"
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		version = "v2"
		b, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		if err != nil {
			return Finding{Level: Failure, Detail: err.Error(), Remedy: "mount cgroup2 at /sys/fs/cgroup"}
		}
		have = map[string]bool{}
		for c := range strings.FieldsSeq(string(b)) {
			have[c] = true
		}
	} else {
		mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
		if err != nil {
			return Finding{Level: Failure, Detail: err.Error()}
		}
		have = map[string]bool{}
		for _, m := range mounts {
			for c := range strings.SplitSeq(m.VFSOptions, ",") {
				have[c] = true
			}
		}
	}
	var missing []string
	for _, c := range want {
		if !have[c] {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return Finding{Level: Failure, Detail: "cgroup " + version + " without " + strings.Join(missing, ", "), Remedy: "enable the controllers on the kernel's command line (cgroup_enable=…)"}
	}
	return fine("cgroup %s with cpu, memory and pids", version)
}

func checkOverlay(Settings) Finding {
	b, err := os.ReadFile("/proc/filesystems")
	if err == nil && strings.Contains(string(b), "\toverlay\n") {
		return fine("overlayfs")
	}
	return Finding{Level: Warning, Detail: "overlayfs is not loaded", Remedy: "modprobe overlay; without it images are copied, which is slow"}
}

func checkNamespaces(Settings) Finding {
	la := netlink.NewLinkAttrs()
	la.Name = "rsdoctor0"
	peer := &netlink.Veth{LinkAttrs: la, PeerName: "rsdoctor1"}
	if err := netlink.LinkAdd(peer); err != nil && !errors.Is(err, unix.EEXIST) {
		return Finding{Level: Failure, Detail: "cannot make a veth pair: " + err.Error(), Remedy: "modprobe veth; NET_ADMIN is needed"}
	}
	if err := netlink.LinkDel(peer); err != nil {
		return Finding{Level: Warning, Detail: err.Error()}
	}
	if _, err := os.Stat("/proc/self/ns/net"); err != nil {
		return Finding{Level: Failure, Detail: err.Error(), Remedy: "a kernel with network namespaces is needed"}
	}
	return fine("network namespaces and veth")
}

func checkNftables(Settings) Finding {
	c, err := nftables.New()
	if err == nil {
		_, err = c.ListTables()
	}
	if err != nil {
		return Finding{Level: Failure, Detail: err.Error(), Remedy: "modprobe nf_tables nft_ct nft_nat; NET_ADMIN is needed"}
	}
	return fine("nftables")
}

// checkForwarding looks for what keeps routed packets from passing the host.
func checkForwarding(Settings) Finding {
	c, err := nftables.New()
	if err != nil {
		return Finding{Level: Warning, Detail: err.Error()}
	}
	chains, err := c.ListChains()
	if err != nil {
		return Finding{Level: Warning, Detail: err.Error()}
	}
	for _, ch := range chains {
		if ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop && ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookForward {
			return Finding{
				Level:  Warning,
				Detail: fmt.Sprintf("the chain %s %s drops what the host forwards", ch.Table.Name, ch.Name),
				Remedy: "tasks reach the host and each other, but not the internet, until that chain accepts 172.31.0.0/16 (for Docker: iptables -I DOCKER-USER -s 172.31.0.0/16 -j ACCEPT, and the same with -d)",
			}
		}
	}
	return fine("no chain drops what the host forwards")
}

func checkContainerd(s Settings) Finding {
	address := s.Containerd
	if address == "" {
		address = "/run/containerd/containerd.sock"
	}
	conn, err := net.DialTimeout("unix", address, time.Second)
	if err == nil {
		_ = conn.Close()
		return fine("containerd answers at %s", address)
	}
	if s.Containerd != "" {
		return Finding{Level: Failure, Detail: err.Error(), Remedy: "start that containerd, or leave --containerd out and roadstead starts one of its own"}
	}
	path, err := exec.LookPath("containerd")
	if err != nil {
		return Finding{Level: Failure, Detail: "containerd is not installed", Remedy: "apt-get install containerd"}
	}
	return fine("%s; roadstead starts one of its own", path)
}

func checkRunc(Settings) Finding {
	path, err := exec.LookPath("runc")
	if err != nil {
		return Finding{Level: Failure, Detail: "runc is not installed", Remedy: "apt-get install runc"}
	}
	return fine("%s", path)
}

func checkDisk(s Settings) Finding {
	dir := s.DataDir
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil {
			free := st.Bavail * uint64(st.Bsize) >> 20
			if free < 2048 {
				return Finding{Level: Warning, Detail: fmt.Sprintf("%d MB free below %s", free, dir), Remedy: "images and logs are kept there; free some room or choose another --data-dir"}
			}
			return fine("%d MB free below %s", free, dir)
		}
		if parent := filepath.Dir(dir); errors.Is(err, unix.ENOENT) && parent != dir {
			dir = parent
			continue
		}
		return Finding{Level: Warning, Detail: err.Error()}
	}
}

func checkEndpoint(s Settings) Finding {
	if s.Running {
		return fine("the server answers at %s", s.Listen)
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return Finding{Level: Failure, Detail: err.Error(), Remedy: "end what listens there, or choose another --listen"}
	}
	_ = l.Close()
	return fine("%s is free", s.Listen)
}
