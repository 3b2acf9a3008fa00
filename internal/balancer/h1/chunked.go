package h1

// Chunked follows a chunked body as it passes by, to find its end. The zero
// value is at the body's beginning.
type Chunked struct {
	// Request is set for the body of a request: its trailers must not pass for
	// headers by which the proxy tells the recipient something.
	Request bool

	state  chunkState
	left   int64 // of the current chunk's data
	digits int   // of the current chunk's size
	extra  int   // bytes of extensions and trailers seen
	name   [24]byte
	nameN  int
}

type chunkState uint8

const (
	chunkSize  chunkState = iota
	chunkSpace            // between the size and what may follow it
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart
	trailerName
	trailerValue
	trailerLF
	lastLF
	chunkDone
)

// maxExtra limits what a body may carry beside its data, extensions of each
// chunk or trailers, so that no one sends without end.
const maxExtra = 8 << 10

// Done tells whether the body has ended.
func (c *Chunked) Done() bool { return c.state == chunkDone }

// Scan reads on in p and returns how many of its bytes belong to the body,
// which is all of them unless the body ends in p. Every span of data, without
// the framing, is given to data unless that is nil.
func (c *Chunked) Scan(p []byte, data func([]byte) error) (int, error) {
	i := 0
	for i < len(p) && c.state != chunkDone {
		if c.state == chunkData {
			n := int(min(c.left, int64(len(p)-i)))
			if data != nil {
				if err := data(p[i : i+n]); err != nil {
					return i, err
				}
			}
			i += n
			if c.left -= int64(n); c.left == 0 {
				c.state = chunkDataCR
			}
			continue
		}
		if !c.step(p[i]) {
			return i, ErrMalformed
		}
		i++
	}
	return i, nil
}

// step takes one byte of the framing and tells whether it may stand there.
func (c *Chunked) step(b byte) bool {
	switch c.state {
	case chunkSize:
		if d := hexDigit(b); d >= 0 {
			if c.digits == 15 {
				return false
			}
			c.left, c.digits = c.left<<4|int64(d), c.digits+1
			return true
		}
		if c.digits == 0 {
			return false
		}
		return c.afterSize(b)
	case chunkSpace:
		c.extra++
		return b != ';' && c.afterSize(b) && c.extra <= maxExtra
	case chunkExtension:
		if b == '\r' {
			c.state = chunkSizeLF
			return true
		}
		c.extra++
		return class[b]&valueByte != 0 && c.extra <= maxExtra
	case chunkSizeLF:
		c.state, c.digits = chunkData, 0
		if c.left == 0 {
			c.state = trailerStart
		}
		return b == '\n'
	case chunkDataCR:
		c.state = chunkDataLF
		return b == '\r'
	case chunkDataLF:
		c.state = chunkSize
		return b == '\n'
	case trailerStart:
		if b == '\r' {
			c.state = lastLF
			return true
		}
		c.state, c.nameN = trailerName, 0
		return c.trailerName(b)
	case trailerName:
		return c.trailerName(b)
	case trailerValue:
		if b == '\r' {
			c.state = trailerLF
			return true
		}
		c.extra++
		return class[b]&valueByte != 0 && c.extra <= maxExtra
	case trailerLF:
		c.state = trailerStart
		return b == '\n'
	case lastLF:
		c.state = chunkDone
		return b == '\n'
	case chunkData, chunkDone:
	}
	return false
}

func (c *Chunked) afterSize(b byte) bool {
	switch b {
	case '\r':
		c.state = chunkSizeLF
	case ' ', '\t':
		c.state = chunkSpace
	case ';':
		c.state = chunkExtension
	default:
		return false
	}
	return true
}

// trailerName refuses the fields that would change what the message is, or that
// only the proxy may set.
func (c *Chunked) trailerName(b byte) bool {
	c.extra++
	if b != ':' {
		if c.nameN < len(c.name) {
			c.name[c.nameN] = b
		}
		c.nameN++
		return class[b]&tokenByte != 0 && c.extra <= maxExtra
	}
	if c.nameN == 0 {
		return false
	}
	c.state = trailerValue
	if c.Request && proxysOwn(c.name[:min(c.nameN, len(c.name))]) {
		return false
	}
	if c.nameN > len(c.name) {
		return true
	}
	switch identify(c.name[:c.nameN]) {
	case Other, Date, Server:
		return true
	default:
		return false
	}
}

// proxysOwn tells whether a name begins as those of the fields do by which the
// proxy tells who the client is. Servers may take an underscore for a hyphen.
func proxysOwn(name []byte) bool {
	for _, own := range [2]string{"x-amzn-", "x-forwarded-"} {
		i := 0
		for i < len(own) && i < len(name) && (name[i]|0x20 == own[i] || own[i] == '-' && (name[i] == '-' || name[i] == '_')) {
			i++
		}
		if i == len(own) {
			return true
		}
	}
	return false
}

func hexDigit(b byte) int {
	switch {
	case b >= '0' && b <= '9':
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10
	case b >= 'A' && b <= 'F':
		return int(b-'A') + 10
	default:
		return -1
	}
}
