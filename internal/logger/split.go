package logger

import (
	"bytes"
	"regexp"
	"unicode/utf8"
)

// maxMessage is the longest event in bytes: CloudWatch's 256 KiB less what it
// counts for each event. Longer lines become several events.
const maxMessage = 256<<10 - 26

// splitter makes events of a stream of output. Lines that are empty are not
// events. A carriage return before the newline is dropped.
type splitter struct {
	// start matches lines that begin an event; nil makes every line one.
	start *regexp.Regexp

	line    []byte // an unfinished line
	pending []byte // an unfinished event of several lines
	// since is when the unfinished event was begun.
	since int64
}

// feed takes output that was read at now and calls emit for each event that it
// completes. The message is only good during the call.
func (s *splitter) feed(b []byte, now int64, emit func(Event)) {
	for len(b) > 0 {
		nl := bytes.IndexByte(b, '\n')
		if nl < 0 {
			s.line = append(s.line, b...)
			for len(s.line) > maxMessage {
				cut := cutAt(s.line, maxMessage)
				s.take(s.line[:cut], now, emit)
				s.line = append(s.line[:0], s.line[cut:]...)
			}
			return
		}
		line := b[:nl]
		if len(s.line) > 0 {
			s.line = append(s.line, line...)
			line = s.line
		}
		for len(line) > maxMessage {
			cut := cutAt(line, maxMessage)
			s.take(line[:cut], now, emit)
			line = line[cut:]
		}
		s.take(bytes.TrimSuffix(line, []byte{'\r'}), now, emit)
		s.line = s.line[:0]
		b = b[nl+1:]
	}
}

// cutAt is the last place not behind n that does not cut a character.
func cutAt(b []byte, n int) int {
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			return i
		}
	}
	return n
}

// take handles a whole line, or a part of one that is too long.
func (s *splitter) take(line []byte, now int64, emit func(Event)) {
	if s.start == nil {
		if len(line) > 0 {
			emit(Event{now, line})
		}
		return
	}
	if s.start.Match(line) || len(s.pending)+len(line)+1 > maxMessage {
		s.flush(emit)
	}
	if len(s.pending) == 0 {
		s.since = now
	} else {
		s.pending = append(s.pending, '\n')
	}
	s.pending = append(s.pending, line...)
}

// flush emits the unfinished event of several lines.
func (s *splitter) flush(emit func(Event)) {
	if len(s.pending) > 0 {
		emit(Event{s.since, s.pending})
		s.pending = s.pending[:0]
	}
}

// end emits what is left when the output has ended.
func (s *splitter) end(now int64, emit func(Event)) {
	if len(s.line) > 0 {
		s.take(s.line, now, emit)
		s.line = nil
	}
	s.flush(emit)
}
