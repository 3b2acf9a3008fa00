package codec

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"roadstead.dev/internal/api"
)

// Limits of a form, beyond the size of the body.
const (
	maxParameters = 20000
	maxSegments   = maxDepth
	// maxIndex is the largest list index; the gaps below it cost nothing.
	maxIndex = 1 << 20
)

// formNode is what stands under one prefix of a form's dotted names.
type formNode struct {
	value    string
	hasValue bool
	children map[string]*formNode
	// name is the whole dotted name, for messages.
	name string
	used bool
}

// ParseForm takes apart a form body or a query string. The names keep their
// first value.
func ParseForm(s string) (url.Values, error) {
	v := make(url.Values, strings.Count(s, "&")+1)
	for s != "" {
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		if pair == "" {
			continue
		}
		k, val, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(val)
		if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, malformed("The request is not a valid form.")
		}
		if len(v) >= maxParameters {
			return nil, malformed("Too many parameters.")
		}
		if _, ok := v[name]; !ok {
			v[name] = []string{value}
		}
	}
	return v, nil
}

func malformed(message string) error {
	return &api.Fault{Code: "MalformedQueryString", Message: message, Status: 404}
}

// formTree builds the tree of dotted names. Names that carry the request
// itself are left out.
func formTree(form url.Values) (*formNode, error) {
	root := &formNode{}
	for name, vs := range form {
		if requestParameter(name) {
			continue
		}
		n := root
		rest := name
		for depth := 0; ; depth++ {
			if depth == maxSegments {
				return nil, malformed("The parameter " + name + " nests too deeply.")
			}
			seg, more, found := strings.Cut(rest, ".")
			child := n.children[seg]
			if child == nil {
				if n.children == nil {
					n.children = make(map[string]*formNode)
				}
				child = &formNode{name: name[:len(name)-len(rest)+len(seg)]}
				n.children[seg] = child
			}
			n = child
			if !found {
				break
			}
			rest = more
		}
		n.value, n.hasValue = vs[0], true
	}
	return root, nil
}

// requestParameter tells the names that belong to the protocol and to
// signatures.
func requestParameter(name string) bool {
	switch name {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "SecurityToken":
		return true
	}
	return len(name) > 6 && strings.EqualFold(name[:6], "X-Amz-")
}

// indexed lists the children with numbers for names, in their order.
func (n *formNode) indexed() []*formNode {
	type entry struct {
		i int
		n *formNode
	}
	entries := make([]entry, 0, len(n.children))
	for seg, c := range n.children {
		i, err := strconv.Atoi(seg)
		if err != nil || i < 0 || i > maxIndex {
			continue
		}
		entries = append(entries, entry{i, c})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.i, b.i) })
	out := make([]*formNode, len(entries))
	for i, e := range entries {
		out[i] = e.n
	}
	return out
}

// unused finds the name of a value that nothing has read, the first in the
// order of names.
func (n *formNode) unused() string {
	best := ""
	if n.hasValue && !n.used {
		best = n.name
	}
	for _, c := range n.children {
		if u := c.unused(); u != "" && (best == "" || u < best) {
			best = u
		}
	}
	return best
}

// formTime reads a timestamp of the query protocols.
func formTime(s, format string) (time.Time, bool) {
	if format == "" {
		format = "iso8601"
	}
	return parseTime(s, format)
}
