package l7

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// Stickiness that follows a cookie of the application's.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html#app-based-stickiness

const (
	// bindingCookie holds the bindings of a client to targets, one for each
	// group. They fit into the first of the fragments that its name counts.
	bindingCookie = "AWSALBAPP-0"
	// bindingCookieFor is how long browsers keep it.
	bindingCookieFor = 7 * 24 * time.Hour
	// maxBindings keeps the cookie below 4 KB. The oldest binding goes first.
	maxBindings = 64
)

// binding is a client's to a target of a group.
type binding struct {
	group uint64 // by groupHash
	until int64  // in Unix seconds
	addr  string
}

func groupHash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return h.Sum64()
}

func appendBindings(b []byte, all []binding) []byte {
	for _, x := range all {
		b = binary.BigEndian.AppendUint64(b, x.group)
		b = binary.BigEndian.AppendUint64(b, uint64(x.until))
		b = append(append(b, byte(len(x.addr))), x.addr...)
	}
	return b
}

// parseBindings reads what appendBindings wrote; of anything else it reads as
// much as makes sense.
func parseBindings(s string) []binding {
	var all []binding
	const fixed = 17
	for b := []byte(s); len(b) >= fixed; {
		n := int(b[fixed-1])
		if len(b) < fixed+n {
			break
		}
		all = append(all, binding{binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:])), string(b[fixed : fixed+n])})
		b = b[fixed+n:]
	}
	return all
}

// bindings are those that the request brings and that still hold.
func bindings(r *h1.Request, s *Settings, now time.Time) []binding {
	v, ok := fromCookies(r, s, bindingCookie)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(parseBindings(v), func(b binding) bool { return b.until < now.Unix() })
}

// stuckApp is the target that the client is bound to while it has the
// application's cookie as well, nil when there is none that may take requests.
// Bound tells whether it is bound, be it to a target that may not.
func (s *groupState) stuckApp(r *h1.Request, set *Settings, group string) (t *Target, bound bool) {
	if !hasCookie(r, s.settings.AppCookie) {
		return nil, false
	}
	h := groupHash(group)
	for _, b := range bindings(r, set, time.Now()) {
		if b.group == h {
			return s.find(b.addr), true
		}
	}
	return nil, false
}

// bindApp adds the load balancer's cookie when the target has set the
// application's, or when the client was bound: then its time begins anew.
func (c *conn) bindApp(x *exchange) {
	st, s := &x.state.settings, c.settings()
	if _, set := appCookie(&c.resp, st.AppCookie); !set && !x.rebind {
		return
	}
	now := time.Now()
	h := groupHash(x.group.ID)
	all := slices.DeleteFunc(bindings(&c.req, s, now), func(b binding) bool { return b.group == h })
	all = append(all, binding{h, now.Add(st.StickyFor).Unix(), x.target.Addr})
	if len(all) > maxBindings {
		all = all[len(all)-maxBindings:]
	}
	until := now.Add(bindingCookieFor)
	b := append(x.cookies, "Set-Cookie: "+bindingCookie+"="...)
	b = append(b, s.cookies.seal(string(appendBindings(nil, all)), until)...)
	b = append(b, "; Expires="...)
	b = until.UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "; Path=/"...)
	if wantsSameSite(&c.req) {
		b = append(b, "; SameSite=None; Secure"...)
	}
	x.cookies = append(b, "\r\n"...)
}

// wantsSameSite tells whether a request across origins comes from a browser
// that sends cookies back across origins only if they say so: Chromium from
// version 80.
func wantsSameSite(r *h1.Request) bool {
	var origin bool
	var agent []byte
	for i := range r.Fields {
		switch f := &r.Fields[i]; {
		case bytes.EqualFold(f.Name, []byte("Origin")):
			origin = true
		case bytes.EqualFold(f.Name, []byte("User-Agent")):
			agent = f.Value
		}
	}
	if !origin {
		return false
	}
	for _, name := range []string{"Chrome/", "Chromium/"} {
		_, version, ok := strings.Cut(string(agent), name)
		if !ok {
			continue
		}
		major, _, _ := strings.Cut(version, ".")
		if n, err := strconv.Atoi(major); err == nil && n >= 80 {
			return true
		}
	}
	return false
}
