package logs

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/pagetoken"
)

var errToken = invalid("The specified nextToken is invalid.")

// pages makes and opens the tokens of one list.
type pages []string

// pagesOf is the tokens of an operation's list, for the caller's account and
// region. Of says what the list is of: the group, and the filters.
func pagesOf(ctx context.Context, operation string, of ...any) pages {
	c := api.CallFrom(ctx)
	list := pages{operation, c.Account, c.Region}
	for _, v := range of {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

func (p pages) token(position string) string { return pagetoken.Make(position, p...) }

// position is the one in a token, "" without a token.
func (p pages) position(token *string) (string, error) {
	if token == nil {
		return "", nil
	}
	position, ok := pagetoken.Open(*token, p...)
	if !ok {
		return "", errToken
	}
	return position, nil
}

func pageSize(limit *int32) int {
	if limit == nil {
		return defaultPage
	}
	return int(*limit)
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// list prints numbers as AWS's messages do.
func list(ns []int32) string {
	parts := make([]string, len(ns))
	for i, n := range ns {
		parts[i] = strconv.Itoa(int(n))
	}
	return fmt.Sprintf("[%s]", strings.Join(parts, ", "))
}
