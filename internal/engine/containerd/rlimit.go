package containerd

import (
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/pkg/cap"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var rlimitNumbers = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

// mayRaise tells whether hard limits can be raised here. Where they can't
// (an unprivileged outer container), a container that asks for more than
// there is would not start at all.
var mayRaise = sync.OnceValue(func() bool {
	caps, err := cap.Current()
	if err != nil {
		return true
	}
	return slices.Contains(caps, "CAP_SYS_RESOURCE")
})

// clampRlimit lowers a limit to what can be had, and tells if it did.
func clampRlimit(l specs.POSIXRlimit) (specs.POSIXRlimit, bool) {
	n, known := rlimitNumbers[l.Type]
	if !known || mayRaise() {
		return l, false
	}
	var have unix.Rlimit
	if err := unix.Getrlimit(n, &have); err != nil || l.Hard <= have.Max {
		return l, false
	}
	l.Hard = have.Max
	l.Soft = min(l.Soft, l.Hard)
	return l, true
}

func allCapabilities() []string { return cap.Known() }
