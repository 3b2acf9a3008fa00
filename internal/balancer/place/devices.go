package place

import (
	"strings"

	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

// numbered gives each interface the number of its device. One that is there
// keeps its number, whatever becomes of the others: connections go on by it.
// Those that this process did not attach are found by their hardware addresses.
func numbered(path string, before map[string]network.Attachment, wanted []balance.Interface) (map[string]int, error) {
	taken := map[int]bool{}
	numbers := map[string]int{}
	if before == nil {
		there, err := network.Devices(path)
		if err != nil {
			return nil, err
		}
		for _, in := range wanted {
			if n, ok := there[strings.ToLower(in.MAC)]; ok && !taken[n] {
				numbers[in.ID], taken[n] = n, true
			}
		}
	}
	for id, a := range before {
		// A number is free once its device is gone.
		numbers[id], taken[a.Index] = a.Index, true
	}
	for _, in := range wanted {
		if _, ok := numbers[in.ID]; ok {
			continue
		}
		n := 0
		for taken[n] {
			n++
		}
		numbers[in.ID], taken[n] = n, true
	}
	return numbers, nil
}

// leadOut gives a namespace without a device 0, which would do it, a default
// route.
func leadOut(made map[string]network.Attachment) error {
	var first *network.Attachment
	for _, a := range made {
		if first == nil || a.Index < first.Index {
			first = &a
		}
	}
	if first == nil || first.Index == 0 {
		return nil
	}
	return network.LeadOut(*first)
}
