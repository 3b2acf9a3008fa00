package h1

// FieldID names the header fields that a proxy looks at.
type FieldID uint8

// The fields. Any other is Other.
const (
	Other FieldID = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	TE
	Trailer
	Upgrade
	Expect
	Cookie
	Date
	Server
	XForwardedFor
	XForwardedProto
	XForwardedPort
	XAmznTraceID
	// Own marks fields that Request.Add added.
	Own
)

// identify finds a field's id by its name.
func identify(name []byte) FieldID {
	is := func(s string, id FieldID) FieldID {
		if equalFold(name, s) {
			return id
		}
		return Other
	}
	// Lengths tell nearly all names apart, so that few are compared.
	switch len(name) {
	case 2:
		return is("te", TE)
	case 4:
		switch name[0] | 0x20 {
		case 'h':
			return is("host", Host)
		case 'd':
			return is("date", Date)
		}
	case 6:
		switch name[0] | 0x20 {
		case 'c':
			return is("cookie", Cookie)
		case 'e':
			return is("expect", Expect)
		case 's':
			return is("server", Server)
		}
	case 7:
		switch name[0] | 0x20 {
		case 'u':
			return is("upgrade", Upgrade)
		case 't':
			return is("trailer", Trailer)
		}
	case 10:
		switch name[0] | 0x20 {
		case 'c':
			return is("connection", Connection)
		case 'k':
			return is("keep-alive", KeepAlive)
		}
	case 14:
		return is("content-length", ContentLength)
	case 15:
		switch name[0] | 0x20 {
		case 'x':
			if equalFold(name, "x-forwarded-for") {
				return XForwardedFor
			}
			return is("x-amzn-trace-id", XAmznTraceID)
		}
	case 16:
		switch name[0] | 0x20 {
		case 'x':
			return is("x-forwarded-port", XForwardedPort)
		case 'p':
			return is("proxy-connection", ProxyConnection)
		}
	case 17:
		switch name[0] | 0x20 {
		case 't':
			return is("transfer-encoding", TransferEncoding)
		case 'x':
			return is("x-forwarded-proto", XForwardedProto)
		}
	}
	return Other
}

// HopByHop tells whether a field is meant for the next recipient alone,
// whatever the Connection header says.
func (id FieldID) HopByHop() bool {
	switch id {
	case Connection, KeepAlive, ProxyConnection, TransferEncoding, Upgrade, TE:
		return true
	default:
		return false
	}
}
