// Package pagetoken makes the tokens that lists are paged with. A token says
// where the next page begins and what it is a page of, so one that was changed,
// shortened, or taken from another list is recognized. It stays good across
// restarts and while the list changes: it names a position, not a page number.
package pagetoken

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

const (
	version = 1
	// sumSize is enough that no accident passes; a token guards nothing secret.
	sumSize = 9
)

// Make is the token of the page behind position in a list. List holds what
// makes the list what it is: the operation, the account, the region, and the
// filters, everything but the page's size.
func Make(position string, list ...string) string {
	b := make([]byte, 0, 1+sumSize+len(position))
	b = append(b, version)
	b = append(b, sum(position, list)...)
	return base64.RawURLEncoding.EncodeToString(append(b, position...))
}

// Open is the position in a token that Make made for the same list.
func Open(token string, list ...string) (position string, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) <= sumSize || b[0] != version || strings.ContainsAny(token, "\r\n") {
		return "", false
	}
	position = string(b[1+sumSize:])
	return position, string(b[1:1+sumSize]) == string(sum(position, list))
}

func sum(position string, list []string) []byte {
	h := sha256.New()
	for _, part := range append([]string{position}, list...) {
		h.Write([]byte{byte(len(part) >> 24), byte(len(part) >> 16), byte(len(part) >> 8), byte(len(part))})
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:sumSize]
}
