package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const taskARN = "arn:aws:ecs:us-east-1:000000000000:task/demo/0123456789abcdef0123456789abcdef"

func metadata(t *testing.T) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v4/x/task" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"TaskARN":%q,"Family":"web","Revision":"3","Cluster":"arn:aws:ecs:us-east-1:000000000000:cluster/demo","AvailabilityZone":"us-east-1b","Containers":[{"Networks":[{"IPv4Addresses":["172.31.16.7"]}]}]}`, taskARN)
	}))
	t.Cleanup(s.Close)
	t.Setenv("ECS_CONTAINER_METADATA_URI_V4", s.URL+"/v4/x")
}

func get(t *testing.T, h http.Handler, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	r.Header.Set("X-Forwarded-For", "203.0.113.9, 10.0.0.1")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHello(t *testing.T) {
	metadata(t)
	h := newHandler(whoAmI(t.Context()))
	text := get(t, h, "/", "*/*")
	for _, want := range []string{"Hello from 0123456789ab\n", taskARN, "web:3", "172.31.16.7", "us-east-1b", "203.0.113.9", "request    1"} {
		if !strings.Contains(text.Body.String(), want) {
			t.Errorf("no %q in\n%s", want, text.Body)
		}
	}
	html := get(t, h, "/<script>", "text/html,*/*")
	if ct := html.Header().Get("Content-Type"); !strings.HasPrefix(ct, "text/html") {
		t.Errorf("content type %q", ct)
	}
	if b := html.Body.String(); !strings.Contains(b, taskARN) || !strings.Contains(b, "<dd>2</dd>") || strings.Contains(b, "<script>") {
		t.Errorf("page:\n%s", b)
	}
	if w := get(t, h, "/health", ""); w.Code != http.StatusOK || w.Body.String() != "ok\n" {
		t.Errorf("health: %d %q", w.Code, w.Body)
	}
}

func TestWithoutMetadata(t *testing.T) {
	t.Setenv("ECS_CONTAINER_METADATA_URI_V4", "")
	if b := get(t, newHandler(whoAmI(t.Context())), "/", "").Body.String(); !strings.Contains(b, "Hello from not a task") {
		t.Error(b)
	}
}
