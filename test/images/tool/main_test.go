package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Setenv("GREETING", "hello")
	for name, tt := range map[string]struct {
		args []string
		code int
		ok   bool
	}{
		"nothing":        {code: 2},
		"unknown":        {args: []string{"fly"}, code: 2},
		"exit":           {args: []string{"exit", "7"}, code: 7},
		"crash":          {args: []string{"crash"}, code: 139},
		"seq stops":      {args: strings.Fields("seq env GREETING -- exit 4 -- exit 5"), code: 4},
		"log":            {args: strings.Fields("log -n 2 -every 0s -size 40"), ok: true},
		"eat":            {args: strings.Fields("eat -mb 2 -step 1 -hold 0s"), ok: true},
		"id":             {args: []string{"id"}, ok: true},
		"flags":          {args: []string{"log", "-nonsense"}},
		"missing":        {args: []string{"env", "NOT_THERE_AT_ALL"}},
		"refused":        {args: []string{"connect", "127.0.0.1:1"}},
		"no credentials": {args: []string{"credentials"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
			err := run(t.Context(), tt.args)
			var code exitCode
			switch {
			case tt.ok && err != nil, !tt.ok && err == nil:
				t.Errorf("got %v", err)
			case tt.code != 0 && (!errors.As(err, &code) || int(code) != tt.code):
				t.Errorf("got %v, want code %d", err, tt.code)
			}
		})
	}
}

func TestServe(t *testing.T) {
	s := httptest.NewServer((&server{name: "one"}).handler())
	defer s.Close()
	for path, want := range map[string]int{
		"/": 200, "/health": 200, "/status/418": 418, "/sleep/1ms": 200, "/sleep/x": 400,
		"/connect?addr=" + strings.TrimPrefix(s.URL, "http://"): 200, "/connect?addr=127.0.0.1:1": 502,
		"/get?url=" + s.URL + "/status/404": 404,
	} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}
