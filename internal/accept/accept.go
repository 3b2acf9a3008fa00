// Package accept takes connections from listeners, to the last one.
package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"
)

// last is how long connections are accepted that were being opened when no more
// were to be.
const last = 20 * time.Millisecond

// longest bounds that: where clients cannot be turned away they may go on coming.
const longest = 10 * last

// Until hands the connections that l accepts to start, which must not block,
// until ctx ends or l fails, and closes l. Connections that clients have opened
// by then are accepted first, where l can be told to do so.
func Until(ctx context.Context, l net.Listener, log *slog.Logger, start func(net.Conn)) error {
	defer l.Close() //nolint:errcheck // nobody waits for it
	patient, ok := l.(interface{ SetDeadline(t time.Time) error })
	stop := context.AfterFunc(ctx, func() {
		turnAway(l)
		if !ok || patient.SetDeadline(time.Now().Add(last)) != nil {
			_ = l.Close()
		}
	})
	defer stop()
	looked := false
	var until time.Time
	for delay := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			delay, looked = 0, false
			start(nc)
			continue
		}
		if ctx.Err() != nil {
			// A deadline that has passed hides the connections that are there.
			if until.IsZero() {
				until = time.Now().Add(longest)
			}
			if ok && !looked && time.Now().Before(until) && errors.Is(err, os.ErrDeadlineExceeded) && patient.SetDeadline(time.Now().Add(last)) == nil {
				looked = true
				continue
			}
			return nil
		}
		// Out of descriptors: wait for some to be freed.
		var te interface{ Temporary() bool }
		if !errors.As(err, &te) || !te.Temporary() {
			return err
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		log.Warn("accepting connections fails", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}
