package codec

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// errJSON is malformed JSON. AWS tells no more than that either.
var errJSON = errors.New("malformed JSON")

// errDepth is JSON that nests too deeply, or holds too much.
var errDepth = errors.New("nested too deeply")

// scanner reads JSON (RFC 8259) from a buffer, value by value, without making
// a tree. Invalid UTF-8 is malformed.
type scanner struct {
	b     []byte
	i     int
	depth int
	// elements counts those of lists and maps that are kept.
	elements int
}

// element counts one more.
func (s *scanner) element() error {
	s.elements++
	if s.elements > maxElements {
		return errDepth
	}
	return nil
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek is the first byte of the next token, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// end fails unless nothing but space is left.
func (s *scanner) end() error {
	if s.peek() != 0 || s.i != len(s.b) {
		return errJSON
	}
	return nil
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		return errJSON
	}
	s.i += len(word)
	return nil
}

func (s *scanner) open() error {
	s.i++
	s.depth++
	if s.depth > maxDepth {
		return errDepth
	}
	return nil
}

// object calls f for each key, positioned on its value, which f must consume.
func (s *scanner) object(f func(key string) error) error {
	if err := s.open(); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		s.depth--
		return nil
	}
	for {
		if s.peek() != '"' {
			return errJSON
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return errJSON
		}
		s.i++
		if err := f(key); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			s.depth--
			return nil
		default:
			return errJSON
		}
	}
}

// array calls f for each element, which f must consume.
func (s *scanner) array(f func() error) error {
	if err := s.open(); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.i++
		s.depth--
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case ']':
			s.i++
			s.depth--
			return nil
		default:
			return errJSON
		}
	}
}

// str reads a string; the scanner stands on its opening quote.
func (s *scanner) str() (string, error) {
	s.i++
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			raw := s.b[start:s.i]
			s.i++
			if !utf8.Valid(raw) {
				return "", errJSON
			}
			return string(raw), nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return "", errJSON
		default:
			s.i++
		}
	}
	return "", errJSON
}

// escaped reads the rest of a string that began at start and stands on its
// first backslash.
func (s *scanner) escaped(start int) (string, error) {
	out := append(make([]byte, 0, 2*(s.i-start)+16), s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			if !utf8.Valid(out) {
				return "", errJSON
			}
			return string(out), nil
		case c < 0x20:
			return "", errJSON
		case c != '\\':
			out = append(out, c)
			s.i++
			continue
		}
		if s.i+1 >= len(s.b) {
			return "", errJSON
		}
		e := s.b[s.i+1]
		s.i += 2
		switch e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, err := s.hex4()
			if err != nil {
				return "", err
			}
			if utf16.IsSurrogate(r) {
				r = s.surrogate(r)
			}
			out = utf8.AppendRune(out, r)
		default:
			return "", errJSON
		}
	}
	return "", errJSON
}

func (s *scanner) hex4() (rune, error) {
	if s.i+4 > len(s.b) {
		return 0, errJSON
	}
	n, err := strconv.ParseUint(string(s.b[s.i:s.i+4]), 16, 32)
	if err != nil {
		return 0, errJSON
	}
	s.i += 4
	return rune(n), nil
}

// surrogate completes a pair; a lone half becomes U+FFFD.
func (s *scanner) surrogate(hi rune) rune {
	if s.i+6 <= len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
		at := s.i
		s.i += 2
		lo, err := s.hex4()
		if err == nil {
			if r := utf16.DecodeRune(hi, lo); r != utf8.RuneError {
				return r
			}
		}
		s.i = at
	}
	return utf8.RuneError
}

// number reads the text of a number.
func (s *scanner) number() (string, error) {
	start := s.i
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	digits := func() int {
		n := s.i
		for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
			s.i++
		}
		return s.i - n
	}
	first := s.i
	if n := digits(); n == 0 || n > 1 && s.b[first] == '0' {
		return "", errJSON
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if digits() == 0 {
			return "", errJSON
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if digits() == 0 {
			return "", errJSON
		}
	}
	return string(s.b[start:s.i]), nil
}

// skip consumes a value of any kind.
func (s *scanner) skip() error {
	_, err := s.any(false)
	return err
}

// any reads a value of any kind as Go's encoding/json would into an any. With
// keep unset it only checks.
func (s *scanner) any(keep bool) (any, error) {
	switch c := s.peek(); c {
	case '{':
		var m map[string]any
		if keep {
			m = make(map[string]any)
		}
		err := s.object(func(k string) error {
			v, err := s.any(keep)
			if keep && err == nil {
				m[k] = v
				err = s.element()
			}
			return err
		})
		return m, err
	case '[':
		var l []any
		if keep {
			l = make([]any, 0)
		}
		err := s.array(func() error {
			v, err := s.any(keep)
			if keep && err == nil {
				l = append(l, v)
				err = s.element()
			}
			return err
		})
		return l, err
	case '"':
		return s.str()
	case 't':
		return true, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return nil, s.literal("null")
	default:
		if c != '-' && (c < '0' || c > '9') {
			return nil, errJSON
		}
		text, err := s.number()
		if err != nil {
			return nil, err
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) {
			return nil, errJSON
		}
		return f, nil
	}
}
