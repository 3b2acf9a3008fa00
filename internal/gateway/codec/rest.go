package codec

import (
	"net/url"
	"strings"

	"roadstead.dev/internal/api"
)

// MatchREST finds the operation whose method and path template fit a request,
// the one with the most literal segments first; nil where there is none.
func MatchREST(s *api.Service, method, path string) *api.Operation {
	var best *api.Operation
	score := -1
	for i := range s.Operations {
		op := &s.Operations[i]
		if op.Method != method {
			continue
		}
		if n, ok := matchPath(op.Path, path, nil); ok && n > score {
			best, score = op, n
		}
	}
	return best
}

// matchPath compares an escaped path with a template. It tells the number of
// literal segments, and gives set each label's value. A label that ends in +
// takes the rest of the path up to the segments behind it.
func matchPath(template, path string, set func(label, value string) error) (int, bool) {
	template, _, _ = strings.Cut(template, "?")
	ts := strings.Split(strings.Trim(template, "/"), "/")
	ps := strings.Split(strings.Trim(path, "/"), "/")
	literals := 0
	for i, t := range ts {
		if len(t) > 2 && t[0] == '{' && t[len(t)-1] == '}' {
			label, greedy := strings.CutSuffix(t[1:len(t)-1], "+")
			n := 1
			if greedy {
				n = len(ps) - (len(ts) - i - 1)
			}
			if n < 1 || len(ps) < n {
				return 0, false
			}
			value, err := url.PathUnescape(strings.Join(ps[:n], "/"))
			if err != nil || value == "" {
				return 0, false
			}
			if set != nil {
				if err := set(label, value); err != nil {
					return 0, false
				}
			}
			ps = ps[n:]
			continue
		}
		if len(ps) == 0 || ps[0] != t {
			return 0, false
		}
		literals++
		ps = ps[1:]
	}
	return literals, len(ps) == 0
}
