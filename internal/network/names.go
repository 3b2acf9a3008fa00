package network

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"strings"
)

// Devices and tables in a VPC's namespace. Outside, all names carry the
// instance's prefix.
const (
	hostDevice = "host" // the VPC's end of its link with the host
	vpcTable   = "roadstead"
)

// device is the name of an interface's end in its VPC's namespace.
func device(interfaceID string) string {
	h := strings.TrimPrefix(interfaceID, "eni-")
	if len(h) != 17 {
		h = digest(interfaceID)
	}
	return "e" + h[:14]
}

// isInterfaceDevice tells whether device made the name.
func isInterfaceDevice(name string) bool { return len(name) == 15 && name[0] == 'e' }

// linkName is the host's end of a VPC's link.
func (n *Network) linkName(vpcID string) string { return n.linkPrefix() + digest(vpcID)[:6] }

// linkPrefix starts the names of all of the instance's devices on the host.
func (n *Network) linkPrefix() string { return n.cfg.Prefix + "v" }

func digest(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func hash32(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return h.Sum32()
}

// tableNumbers gives each route table the number of a kernel routing table,
// which is its packets' mark too. The same ids get the same numbers.
func tableNumbers(tables []RouteTable) map[string]uint32 {
	const first, count = 1000, 30000
	numbers := make(map[string]uint32, len(tables))
	taken := map[uint32]bool{}
	for _, t := range tables {
		k := hash32(t.ID) % count
		for taken[k] {
			k = (k + 1) % count
		}
		taken[k] = true
		numbers[t.ID] = first + k
	}
	return numbers
}
