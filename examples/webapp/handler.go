package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// handler answers with who it is.
type handler struct {
	who      who
	requests atomic.Int64
}

func newHandler(w who) http.Handler {
	h := &handler{who: w}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", h.health)
	mux.HandleFunc("/", h.hello)
	return logged(mux)
}

func (h *handler) health(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// view is what the page shows.
type view struct {
	who
	Request int64
	Client  string
	Now     string
	// Hue colours the page by task, so that one sees who answers.
	Hue int
}

func (h *handler) hello(w http.ResponseWriter, r *http.Request) {
	v := view{
		who: h.who, Request: h.requests.Add(1), Client: client(r),
		Now: time.Now().UTC().Format("15:04:05 UTC"),
	}
	for _, c := range h.who.TaskARN {
		v.Hue = (v.Hue*31 + int(c)) % 360
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Add("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := page.Execute(w, v); err != nil {
			log.Printf("page: %v", err)
		}
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "Hello from %s\n", short(v.TaskARN))
	for _, row := range v.Rows() {
		fmt.Fprintf(w, "  %-10s %s\n", row.Name, row.Value)
	}
}

// row is a line of the answer.
type row struct{ Name, Value string }

// Rows are what is known, without what is not.
func (v view) Rows() []row {
	family := v.Family
	if v.Revision != "" {
		family += ":" + v.Revision
	}
	var rows []row
	for _, r := range []row{
		{"task", v.TaskARN},
		{"definition", family},
		{"cluster", v.Cluster},
		{"address", v.Address},
		{"zone", v.Zone},
		{"hostname", v.Hostname},
		{"client", v.Client},
		{"request", fmt.Sprintf("%d", v.Request)},
	} {
		if r.Value != "" {
			rows = append(rows, r)
		}
	}
	return rows
}

// Short is the task's id, cut to be read.
func (v view) Short() string { return short(v.TaskARN) }

func short(arn string) string {
	id := arn[strings.LastIndex(arn, "/")+1:]
	if len(id) == 32 {
		return id[:12]
	}
	return id
}

// client is who asks, as the load balancer says.
func client(r *http.Request) string {
	if first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ","); first != "" {
		return strings.TrimSpace(first)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// logged writes a line for each request.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		log.Printf("%s %s %s %d %s %s", begun.UTC().Format(time.RFC3339Nano), r.Method, r.URL.Path, s.status, time.Since(begun).Round(time.Microsecond), client(r))
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
