package ecs

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// A token says where the next page starts, bound to the question that was
// asked: with another filter it is refused rather than answered wrongly.

const tokenSum = 12

func makeToken(after string, filters []string) string {
	return base64.RawURLEncoding.EncodeToString(append(sum(after, filters), after...))
}

func openToken(token string, filters []string) (after string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= tokenSum {
		return "", false
	}
	after = string(b[tokenSum:])
	return after, string(b[:tokenSum]) == string(sum(after, filters))
}

func sum(after string, filters []string) []byte {
	var b strings.Builder
	for _, s := range append([]string{after}, filters...) {
		b.WriteString(strconv.Quote(s))
	}
	h := sha256.Sum256([]byte(b.String()))
	return h[:tokenSum]
}
