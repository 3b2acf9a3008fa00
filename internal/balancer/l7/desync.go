package l7

import (
	"bytes"
	"encoding/binary"

	"roadstead.dev/internal/balancer/h1"
)

// Desync is what is done about requests that servers could understand
// differently, by its attribute value.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#desync-mitigation-mode
type Desync string

// The modes. What the parser refuses is refused in each of them.
const (
	// DesyncMonitor lets all others pass.
	DesyncMonitor Desync = "monitor"
	// DesyncDefensive lets all others pass, but no other request follows an
	// ambiguous one on its connections.
	DesyncDefensive Desync = "defensive"
	// DesyncStrictest lets compliant ones pass alone.
	DesyncStrictest Desync = "strictest"
)

// tier is how much a request can be trusted to mean one thing.
type tier uint8

const (
	compliant tier = iota
	acceptable
	ambiguous
)

// classify tells how a request stands with RFC 7230, and for which reason, in
// the words of access logs. Head is what it was parsed from.
func classify(r *h1.Request, head []byte) (tier, string) {
	if reads := string(r.Method) == "GET" || string(r.Method) == "HEAD"; reads && (r.Chunked || r.Length > 0) {
		if r.Chunked {
			return ambiguous, "UndefinedTransferEncodingSemantics"
		}
		return ambiguous, "UndefinedContentLengthSemantics"
	} else if reads && r.Length == 0 {
		if t, reason := classifyFields(r, head); t == ambiguous {
			return t, reason
		}
		return acceptable, "GetHeadZeroContentLength"
	}
	return classifyFields(r, head)
}

func classifyFields(r *h1.Request, head []byte) (tier, string) {
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.ID == h1.Other && suspicious(f.Name) {
			return ambiguous, "SuspiciousHeader"
		}
	}
	if !ascii(head) {
		return acceptable, "NonCompliantHeader"
	}
	return compliant, ""
}

// suspicious tells whether a careless recipient could take a name for one that
// frames the body.
func suspicious(name []byte) bool {
	for _, s := range [2]string{"contentlength", "transferencoding"} {
		if len(name) < len(s) || len(name) > len(s)+4 {
			continue
		}
		at := 0
		for _, b := range name {
			if b |= 0x20; b < 'a' || b > 'z' {
				continue
			}
			if at == len(s) || s[at] != b {
				at = -1
				break
			}
			at++
		}
		if at == len(s) {
			return true
		}
	}
	return false
}

// ascii tells whether no byte has its highest bit set.
func ascii(b []byte) bool {
	const high = 0x8080808080808080
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&high != 0 {
			return false
		}
		b = b[8:]
	}
	for _, x := range b {
		if x >= 0x80 {
			return false
		}
	}
	return true
}

// bareLines tells whether a line of a head ends without a carriage return.
func bareLines(head []byte) bool {
	return bytes.Count(head, []byte("\n")) != bytes.Count(head, []byte("\r\n"))
}

// mitigate does what the mode says about the request that head holds. It tells
// whether the request may go on.
func (c *conn) mitigate(head []byte) bool {
	mode := c.settings().Desync
	t, reason := classify(&c.req, head)
	if t == compliant && mode == DesyncStrictest && bareLines(head) {
		t, reason = acceptable, "NonCrLfLineTermination"
	}
	if t == compliant {
		return true
	}
	c.stats.NonCompliant.Add(1)
	if c.rec != nil {
		c.rec.Classification, c.rec.ClassificationReason = "Acceptable", reason
		if t == ambiguous {
			c.rec.Classification = "Ambiguous"
		}
	}
	switch {
	case mode == DesyncStrictest:
		return false
	case mode != DesyncMonitor && t == ambiguous:
		c.lone = true
	}
	return true
}
