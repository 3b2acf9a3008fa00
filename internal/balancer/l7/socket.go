package l7

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket is a TCP connection that reads and writes without telling the
// runtime's scheduler of each system call: they do not block, and a scheduler
// that hands the processor on meanwhile costs more than they do. One goroutine
// at a time may read, and one may write.
type socket struct {
	*net.TCPConn
	raw           syscall.RawConn
	in, out       transfer
	asked         asking
	read1, write1 func(fd uintptr) bool
	ask1          func(fd uintptr) bool
	// patient sockets wait for something to read; others answer that the
	// deadline has passed.
	patient bool
}

// asking is where a call of ask is.
type asking uint8

const (
	askNothing asking = iota // nothing was sent
	askPart                  // part of the request was
	askAll                   // all of it was
)

// transfer is a call under way.
type transfer struct {
	p []byte
	n int
	// lent is where p is from, when the call takes a buffer as soon as there
	// is something to read.
	lent  *[]byte
	errno errno
	lends bool
	// now: the call does not wait.
	now bool
}

// errno is a syscall.Errno in little space: most sockets lie idle.
type errno uint32

func (s *socket) wrap(op string, e errno) error {
	if e == 0 {
		return nil
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: syscall.Errno(e)}
}

// fast makes a socket of what is one, and leaves other connections as they
// are.
func fast(c net.Conn) net.Conn {
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return c
	}
	s := &socket{TCPConn: tc, raw: raw, patient: true}
	s.read1, s.write1 = s.readOnce, s.writeMore
	return s
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in = transfer{p: p, now: !s.patient, n: -1}
	err := s.raw.Read(s.read1)
	n := s.in.n
	if err == nil {
		err = s.wrap("read", s.in.errno)
	}
	s.in = transfer{}
	switch {
	case err != nil:
		return 0, err
	case n < 0:
		return 0, os.ErrDeadlineExceeded
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

// readNow is Read without waiting: 0 is also the end, and any error, which Read
// finds again.
func (s *socket) readNow(p []byte) int {
	s.in = transfer{p: p, now: true}
	_ = s.raw.Read(s.read1)
	n := s.in.n
	s.in = transfer{}
	return n
}

// readLent is Read into a buffer of large, which the caller gives back; it is
// nil where nothing was read. While it waits it has none.
func (s *socket) readLent() (lent *[]byte, n int, err error) {
	s.in = transfer{lends: true}
	err = s.raw.Read(s.read1)
	lent, n = s.in.lent, s.in.n
	if err == nil {
		err = s.wrap("read", s.in.errno)
	}
	s.in = transfer{}
	if lent != nil && n == 0 {
		large.Put(lent)
		lent = nil
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	return lent, n, err
}

// readOnce reads what is there, and tells whether that is the end of it.
func (s *socket) readOnce(fd uintptr) bool {
	if s.in.lends {
		s.in.lent = large.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
		s.in.p = *s.in.lent
	}
	for {
		n, e := call(syscall.SYS_READ, fd, s.in.p)
		switch e {
		case 0:
			s.in.n = n
			return true
		case syscall.EAGAIN:
			if s.in.lends {
				large.Put(s.in.lent)
				s.in.lent, s.in.p = nil, nil
			}
			return s.in.now
		case syscall.EINTR:
		default:
			s.in.errno = errno(e)
			return true
		}
	}
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.send(transfer{p: p})
}

// writeNow writes what can be written without waiting.
func (s *socket) writeNow(p []byte) (int, error) {
	n, err := s.send(transfer{p: p, now: true})
	if isTimeout(err) {
		err = nil // a deadline of an earlier wait
	}
	return n, err
}

func (s *socket) send(t transfer) (int, error) {
	s.out = t
	err := s.raw.Write(s.write1)
	n := s.out.n
	if err == nil {
		err = s.wrap("write", s.out.errno)
	}
	s.out = transfer{}
	return n, err
}

// writeMore writes what it can, and tells whether that is the end of it.
func (s *socket) writeMore(fd uintptr) bool {
	for {
		n, e := call(syscall.SYS_WRITE, fd, s.out.p[s.out.n:])
		switch e {
		case 0:
			if s.out.n += n; s.out.n == len(s.out.p) {
				return true
			}
		case syscall.EAGAIN:
			return s.out.now
		case syscall.EINTR:
		default:
			s.out.errno = errno(e)
			return true
		}
	}
}

// errUnasked: the peer sent something, or closed, before it was asked.
var errUnasked = errors.New("peer did not wait to be asked")

// ask writes a request and reads the first of what is answered into p. It sends
// nothing when something came before, or the end did: then the error is
// errUnasked. That costs no more calls than to write and to read. Patience is
// called before ask waits until the peer takes more.
func (s *socket) ask(request, p []byte, patience func()) (int, error) {
	if s.ask1 == nil {
		s.ask1 = s.askOnce
	}
	s.in, s.out, s.asked = transfer{p: p}, transfer{p: request}, askNothing
	err := s.raw.Read(s.ask1)
	n, asked, rest := s.in.n, s.asked, request[s.out.n:]
	if err == nil {
		err = errors.Join(s.wrap("write", s.out.errno), s.wrap("read", s.in.errno))
	}
	s.in, s.out = transfer{}, transfer{}
	switch {
	case asked == askNothing:
		return 0, errors.Join(errUnasked, err)
	case err != nil:
		return n, err
	case asked == askPart:
		patience()
		if _, err := s.Write(rest); err != nil {
			return 0, err
		}
		return s.Read(p)
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

// askOnce sends the request, once it has found nothing to read, and then waits
// for the answer.
func (s *socket) askOnce(fd uintptr) bool {
	if s.readOnce(fd) {
		return true
	}
	if s.asked == askAll {
		return false
	}
	if s.writeMore(fd) {
		s.asked = askAll
		return s.out.errno != 0
	}
	s.asked = askPart
	return true
}

// most is how much one system call moves: so little that what else wants the
// processor waits for microseconds.
const most = 256 << 10

// call is a read or a write, which does not block.
func call(trap, fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(min(len(p), most))) //nolint:gosec // as the syscall package's own Read and Write
	return int(n), errno
}
