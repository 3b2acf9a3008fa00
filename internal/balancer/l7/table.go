package l7

import (
	"net/netip"
	"time"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/model"
)

// Table is what a listener does: rules with their actions, and settings. It
// never changes once it is in use; a listener swaps tables.
type Table struct {
	Rules *rules.Table
	// Actions by the index that Rules.Match returns.
	Actions  []Action
	Settings Settings
	// TLS is nil for a listener that speaks none.
	TLS *TLS
	// Callback answers users who come back from a provider, whatever the rules
	// say; nil where no rule authenticates.
	Callback Guard
	// Nodes are where the load balancer stands.
	Nodes []Node
	// Access and Connects are told of requests and of connections; nil when
	// nobody wants to know.
	Access   AccessLog
	Connects ConnectionLog
}

// Action has exactly one action set.
type Action struct {
	// Priority is that of the rule, 0 of the default one.
	Priority int32
	// evaluated is how many rules are, in their order, until this one applies.
	evaluated int64
	// Guards decide, in order, before anything else is done.
	Guards []Guard
	// Rewrites change requests that are forwarded.
	Rewrites *Rewrites

	Forward  *Forward
	Redirect *model.RedirectAction
	Fixed    *model.FixedResponseAction
}

// Forward sends requests to one of several groups.
type Forward struct {
	Groups []WeightedGroup
	// Sticky keeps a client at the group that it was first sent to, for
	// StickyFor.
	Sticky    bool
	StickyFor time.Duration
	// ByAddress takes the place of Groups: each of the load balancer's
	// addresses has a group of its own.
	ByAddress map[netip.Addr]*Group

	total int
}

// WeightedGroup is a group with its share of the requests.
type WeightedGroup struct {
	Group  *Group
	Weight int
}

// XFFMode is what is done about X-Forwarded-For.
type XFFMode string

// The modes, by their attribute values.
const (
	XFFAppend   XFFMode = "append"
	XFFPreserve XFFMode = "preserve"
	XFFRemove   XFFMode = "remove"
)

// Settings are attributes of a load balancer and of its listener.
type Settings struct {
	// Port and Scheme of the listener: 80, "http".
	Port   int32
	Scheme string
	// Name stands in for the host that HTTP/1.0 clients do not send.
	Name string
	// IdleTimeout is how long nothing may happen on a connection.
	IdleTimeout time.Duration
	// KeepAlive is how long a client may use one connection.
	KeepAlive time.Duration
	// PreserveHost leaves the Host header as it is. Otherwise the port of a
	// listener that is not the scheme's own is appended when it is missing.
	PreserveHost bool
	// DropInvalidFields removes headers whose names are not letters, digits
	// and hyphens.
	DropInvalidFields bool
	XFF               XFFMode
	// XFFClientPort appends the client's port to its address.
	XFFClientPort bool
	// HideServer leaves the Server header out of the load balancer's own
	// answers (routing.http.response.server.enabled set to false).
	HideServer bool
	// Classic load balancers answer in words of their own, know no trace ids
	// and switch to no other protocol.
	Classic bool
	// Add are fields that every response gets, in the place of the target's of
	// the same names.
	Add []Field
	// Desync is what is done about requests that servers could understand
	// differently; empty means defensive.
	Desync Desync
	// TLSVersionField and TLSCipherField name the headers that tell targets
	// how a client's TLS is spoken; empty where they are not told.
	TLSVersionField, TLSCipherField string
	// CookieKey seals stickiness cookies.
	CookieKey [32]byte

	portText string
	cookies  *sealer
	added    []byte // Add as it is sent
}

// Field is a header field.
type Field struct{ Name, Value string }

// prepare computes what requests need again and again.
func (t *Table) prepare() {
	s := &t.Settings
	if s.IdleTimeout == 0 {
		s.IdleTimeout = time.Minute
	}
	if s.KeepAlive == 0 {
		s.KeepAlive = time.Hour
	}
	if s.Scheme == "" {
		s.Scheme = "http"
	}
	s.portText = portText(s.Port)
	if t.TLS != nil {
		t.TLS.prepare()
	}
	s.cookies = newSealer(s.CookieKey)
	s.added = nil
	for _, f := range s.Add {
		s.added = appendField(s.added, []byte(f.Name), []byte(f.Value))
	}
	for i := range t.Actions {
		t.Actions[i].evaluated = int64(i)
		if t.Actions[i].Priority != 0 {
			t.Actions[i].evaluated++
		}
		if f := t.Actions[i].Forward; f != nil {
			f.total = 0
			for _, g := range f.Groups {
				f.total += g.Weight
			}
		}
	}
}

func (s *Settings) standardPort() bool {
	return (s.Scheme == "http" && s.Port == 80) || (s.Scheme == "https" && s.Port == 443)
}

// action finds what to do with a request; nil when no rule matches, which a
// default rule makes impossible.
func (t *Table) action(r *h1.Request, source netip.Addr) *Action {
	i := t.Rules.Match(r, source)
	if i < 0 {
		return nil
	}
	return &t.Actions[i]
}
