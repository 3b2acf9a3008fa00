package dispatch

import (
	"context"
	"errors"
	"sync"

	"roadstead.dev/internal/model/acs"
)

var errClosed = errors.New("session closed")

// pipe is one end of a session inside the process.
type pipe struct {
	in  <-chan acs.Message
	out chan<- acs.Message
	// done is closed by whichever end closes first.
	done  chan struct{}
	close *sync.Once
}

var _ acs.Session = (*pipe)(nil)

// newPipe makes both ends of a session.
func newPipe() (a, b *pipe) {
	x, y := make(chan acs.Message, 16), make(chan acs.Message, 16)
	done, once := make(chan struct{}), &sync.Once{}
	return &pipe{x, y, done, once}, &pipe{y, x, done, once}
}

// Receive blocks for the next message.
func (p *pipe) Receive(ctx context.Context) (acs.Message, error) {
	select {
	case m := <-p.in:
		return m, nil
	case <-p.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Send blocks while the other end is sixteen messages behind.
func (p *pipe) Send(ctx context.Context, m acs.Message) error {
	select {
	case p.out <- m:
		return nil
	case <-p.done:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the session for both ends.
func (p *pipe) Close() error {
	p.close.Do(func() { close(p.done) })
	return nil
}
