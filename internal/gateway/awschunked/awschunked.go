// Package awschunked reads bodies in AWS's own chunks, with which a client
// signs a body while it sends it, and puts checksums behind it.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
package awschunked

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"strings"
)

// The values of X-Amz-Content-Sha256 that announce such a body.
const (
	Signed          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	SignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	UnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// Announced tells whether a value of X-Amz-Content-Sha256 announces a body in
// chunks.
func Announced(contentSHA256 string) bool {
	return contentSHA256 == Signed || contentSHA256 == SignedTrailer || contentSHA256 == UnsignedTrailer
}

// What is wrong with a body.
var (
	ErrMalformed  = errors.New("the body is not in chunks as announced")
	ErrIncomplete = errors.New("the body ends before its last chunk")
	ErrLength     = errors.New("the body does not have the length that was announced")
	ErrChunkSize  = errors.New("a chunk other than the last is too small")
	ErrSignature  = errors.New("a chunk's signature does not match")
	ErrTrailer    = errors.New("the trailer is not the one that was announced")
)

// ChecksumError is a checksum that is not the body's.
type ChecksumError struct{ Algorithm string }

func (e *ChecksumError) Error() string {
	return "The " + strings.ToUpper(e.Algorithm) + " you specified did not match the calculated checksum."
}

const (
	// minChunk is what a signed chunk holds at least, the last one excepted.
	minChunk = 8 << 10
	// maxLine bounds a chunk's head and a trailer's line, maxTrailers their
	// number.
	maxLine     = 1 << 10
	maxTrailers = 8

	trailerSignature = "x-amz-trailer-signature"
)

// Chain is what signatures of chunks are made of. Each covers the one before.
type Chain struct {
	Key []byte
	// Time and Scope as they were signed with the headers.
	Time, Scope string
	// Seed is the signature of the headers.
	Seed string
}

// Config of a Reader.
type Config struct {
	// Content is the value of X-Amz-Content-Sha256.
	Content string
	// Chain is needed where Content says that chunks are signed.
	Chain Chain
	// Trailers are the names that X-Amz-Trailer announces.
	Trailers []string
	// Length of what the chunks hold, X-Amz-Decoded-Content-Length.
	Length int64
}

// Reader reads what the chunks hold. What it has read can be relied on only
// after io.EOF.
type Reader struct {
	src      *bufio.Reader
	cfg      Config
	signed   bool
	previous string
	sums     []trailerSum
	// started is set once a chunk was begun: each ends before the next.
	started bool
	small   bool // a chunk below minChunk was the last
	left    int64
	total   int64
	given   string
	sum     hash.Hash
	err     error
}

// trailerSum is what a trailer says of the body.
type trailerSum struct {
	name string
	hash hash.Hash
}

// NewReader reads from src. It fails where a trailer is announced that is no
// checksum.
func NewReader(src io.Reader, cfg Config) (*Reader, error) {
	r := &Reader{src: bufio.NewReaderSize(src, 16<<10), cfg: cfg, signed: cfg.Content != UnsignedTrailer, previous: cfg.Chain.Seed}
	if !Announced(cfg.Content) {
		return nil, ErrMalformed
	}
	if cfg.Content == Signed && len(cfg.Trailers) > 0 || len(cfg.Trailers) > maxTrailers {
		return nil, ErrTrailer
	}
	for _, name := range cfg.Trailers {
		h := newChecksum(name)
		if h == nil {
			return nil, ErrTrailer
		}
		r.sums = append(r.sums, trailerSum{strings.ToLower(name), h})
	}
	if r.signed {
		r.sum = sha256.New()
	}
	return r, nil
}

func (r *Reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, r.err
	}
	for r.err == nil && r.left == 0 {
		r.err = r.next()
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.src.Read(b[:min(int64(len(b)), r.left)])
	r.left -= int64(n)
	if r.signed {
		_, _ = r.sum.Write(b[:n]) // a hash never fails
	}
	for _, s := range r.sums {
		_, _ = s.hash.Write(b[:n])
	}
	if err != nil {
		r.err = cutShort(err)
	}
	return n, r.err
}

// next ends the chunk that was read and begins the next one. At the end it
// checks all that is left to check, and returns io.EOF.
func (r *Reader) next() error {
	if r.started {
		if err := r.endChunk(); err != nil {
			return err
		}
	}
	line, err := r.line()
	if err != nil {
		return err
	}
	size, given, err := parseHead(line, r.signed)
	if err != nil {
		return err
	}
	if size > r.cfg.Length-r.total {
		return ErrLength
	}
	if r.signed && r.small && size > 0 {
		return ErrChunkSize
	}
	r.started, r.small = true, size < minChunk
	r.left, r.given = size, given
	r.total += size
	if size > 0 {
		return nil
	}
	return r.finish()
}

// endChunk reads a chunk's end and checks its signature.
func (r *Reader) endChunk() error {
	var end [2]byte
	if _, err := io.ReadFull(r.src, end[:]); err != nil {
		return cutShort(err)
	}
	if end != [2]byte{'\r', '\n'} {
		return ErrMalformed
	}
	return r.checkChunk()
}

func (r *Reader) checkChunk() error {
	if !r.signed {
		return nil
	}
	err := r.check("AWS4-HMAC-SHA256-PAYLOAD", r.given, emptySum, hex.EncodeToString(r.sum.Sum(nil)))
	r.sum.Reset()
	return err
}

// emptySum is the SHA-256 of nothing, which stands for headers that chunks do
// not have.
var emptySum = func() string {
	sum := sha256.Sum256(nil)
	return hex.EncodeToString(sum[:])
}()

// check tells whether a signature is right, and the next builds on it.
func (r *Reader) check(algorithm, given string, lines ...string) error {
	c := &r.cfg.Chain
	text := strings.Join(append([]string{algorithm, c.Time, c.Scope, r.previous}, lines...), "\n")
	m := hmac.New(sha256.New, c.Key)
	_, _ = io.WriteString(m, text) // a hash never fails
	want := hex.EncodeToString(m.Sum(nil))
	if !hmac.Equal([]byte(want), []byte(given)) {
		return ErrSignature
	}
	r.previous = want
	return nil
}

// finish reads what follows the last chunk, which is empty.
func (r *Reader) finish() error {
	if r.total != r.cfg.Length {
		return ErrLength
	}
	if err := r.checkChunk(); err != nil {
		return err
	}
	if err := r.trailer(); err != nil {
		return err
	}
	if _, err := r.src.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			return ErrMalformed
		}
		return cutShort(err)
	}
	return io.EOF
}

// trailer reads the announced checksums, and their signature where the body
// is signed.
func (r *Reader) trailer() error {
	given := map[string]string{}
	var canonical strings.Builder
	signature := ""
	wantSignature := r.cfg.Content == SignedTrailer
	for blank := false; ; {
		line, err := r.line()
		if err != nil {
			return err
		}
		if line == "" {
			if wantSignature && signature == "" && !blank {
				blank = true // some clients put one before the signature
				continue
			}
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == trailerSignature && wantSignature && signature == "" {
			signature = value
			continue
		}
		_, twice := given[name]
		if !ok || twice || signature != "" || !slices.ContainsFunc(r.sums, func(s trailerSum) bool { return s.name == name }) {
			return ErrTrailer
		}
		given[name] = value
		canonical.WriteString(name + ":" + value + "\n")
	}
	if wantSignature {
		sum := sha256.Sum256([]byte(canonical.String()))
		if err := r.check("AWS4-HMAC-SHA256-TRAILER", signature, hex.EncodeToString(sum[:])); err != nil {
			return err
		}
	}
	for _, s := range r.sums {
		value, ok := given[s.name]
		if !ok {
			return ErrTrailer
		}
		if value != encode(s.hash) {
			return &ChecksumError{strings.TrimPrefix(s.name, checksumPrefix)}
		}
	}
	return nil
}

// line reads a line without its end.
func (r *Reader) line() (string, error) {
	b, err := r.src.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) {
			return "", ErrMalformed
		}
		return "", cutShort(err)
	}
	if len(b) > maxLine {
		return "", ErrMalformed
	}
	b = b[:len(b)-1]
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return string(b), nil
}

// parseHead reads a chunk's size and signature.
func parseHead(line string, signed bool) (size int64, signature string, err error) {
	digits, rest, found := strings.Cut(line, ";")
	if digits == "" || len(digits) > 15 {
		return 0, "", ErrMalformed
	}
	for i := range len(digits) {
		d := strings.IndexByte("0123456789abcdef", digits[i]|0x20)
		if d < 0 {
			return 0, "", ErrMalformed
		}
		size = size<<4 | int64(d)
	}
	if !signed {
		return size, "", nil
	}
	signature, ok := strings.CutPrefix(rest, "chunk-signature=")
	if !found || !ok {
		return 0, "", ErrMalformed
	}
	return size, signature, nil
}

// cutShort tells a body that ends too early from one that cannot be read.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrIncomplete
	}
	return err
}
