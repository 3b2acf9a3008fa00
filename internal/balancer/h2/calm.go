package h2

import "time"

// calm notices clients that keep the server busy with what brings them nothing:
// floods of pings, settings and empty frames, and requests that are reset as
// soon as they are made.
type calm struct {
	since  time.Time
	idle   int // frames without use
	faults int // streams that were reset before their response was complete
	served int // others
}

const (
	calmTime = 10 * time.Second
	maxIdle  = 5000
	// maxFaults is how many streams may come to nothing; one more for each
	// other.
	maxFaults = 500
)

// count counts a frame.
func (c *calm) count(f *frame) error {
	switch f.kind {
	case frameHeaders:
		c.served++
		return nil
	case frameData:
		if len(f.payload) > 0 || f.has(flagEndStream) {
			return nil
		}
	case frameWindowUpdate:
		// A long response takes many.
		return nil
	}
	c.renew()
	if c.idle++; c.idle > maxIdle {
		return connError{EnhanceYourCalm}
	}
	return nil
}

// fault counts a stream that came to nothing.
func (c *calm) fault() error {
	c.renew()
	c.served--
	if c.faults++; c.faults > maxFaults+max(c.served, 0) {
		return connError{EnhanceYourCalm}
	}
	return nil
}

func (c *calm) renew() {
	if now := time.Now(); now.Sub(c.since) > calmTime {
		c.since, c.idle, c.faults, c.served = now, 0, 0, 0
	}
}
