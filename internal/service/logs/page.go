package logs

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// pageToken hides the id behind which the next page begins.
func pageToken(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

func pageAfter(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) == 0 {
		return "", errToken
	}
	return string(b), nil
}

var errToken = invalid("The specified nextToken is invalid.")

func pageSize(limit *int32) int {
	if limit == nil {
		return defaultPage
	}
	return int(*limit)
}

// list prints numbers as AWS's messages do.
func list(ns []int32) string {
	parts := make([]string, len(ns))
	for i, n := range ns {
		parts[i] = strconv.Itoa(int(n))
	}
	return fmt.Sprintf("[%s]", strings.Join(parts, ", "))
}
