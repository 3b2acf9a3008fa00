package edge

import (
	"net/http"
	"time"
)

// streams cuts HTTP/2 streams whose client grants no room for the answer: the
// connection is alive, so its own limits do not see them.
func streams(h http.Handler, stall time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			h.ServeHTTP(w, r)
			return
		}
		s := &stream{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
		h.ServeHTTP(s, r)
		// What is still buffered goes out after the handler.
		_ = s.control.SetWriteDeadline(time.Now().Add(stall))
	})
}

// stream gives each part of an answer the stall time. An answer may pause
// between two writes.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	timer   *time.Timer
}

var _ http.Flusher = (*stream)(nil)

// cut resets the stream, which ends a write that waits.
func (s *stream) cut() { _ = s.control.SetWriteDeadline(time.Unix(0, 1)) }

func (s *stream) begin() {
	if s.timer == nil {
		s.timer = time.AfterFunc(s.stall, s.cut)
	} else {
		s.timer.Reset(s.stall)
	}
}

func (s *stream) Write(b []byte) (int, error) {
	written := 0
	for {
		s.begin()
		n, err := s.ResponseWriter.Write(b[written:min(len(b), written+writeStep)])
		s.timer.Stop()
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

func (s *stream) Flush() {
	s.begin()
	_ = s.control.Flush()
	s.timer.Stop()
}

// Unwrap serves http.ResponseController.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }
