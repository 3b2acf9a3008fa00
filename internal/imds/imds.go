// Package imds is the instance metadata service, versions 1 and 2: what an
// instance finds at 169.254.169.254. Who asks is known by the address that the
// request comes from, which the data plane lets nobody forge.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
package imds

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
)

// Roles makes the credentials of roles.
type Roles interface {
	MintRoleSession(ctx context.Context, roleARN, sessionName, service string, duration time.Duration, conditions map[string]string) (identity.Credentials, error)
}

// Config is what a Service stands on.
type Config struct {
	Store store.Store
	Clock clock.Clock
	Roles Roles
	// Key seals session tokens, so that they outlive the server.
	Key *seal.Key
	// Signer signs identity documents.
	Signer *Signer
	Log    *slog.Logger
}

// Service answers the instances of all VPCs.
type Service struct {
	Config

	mu sync.Mutex
	// minted are the credentials that instances got, by instance and role.
	minted map[string]identity.Credentials
}

// New makes a Service.
func New(cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{Config: cfg, minted: map[string]identity.Credentials{}}
}

const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token" //nolint:gosec // a header's name
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	// maxTTL of a session token, in seconds.
	maxTTL = 21600
)

// status is an answer without content of its own.
type status int

func (s status) Error() string { return strconv.Itoa(int(s)) + " - " + http.StatusText(int(s)) }

// Handler answers the instances of a VPC.
func (s *Service) Handler(vpcID string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "EC2ws")
		w.Header().Set("Content-Type", "text/plain")
		body, err := s.answer(w, r, vpcID)
		if code, ok := errors.AsType[status](err); ok {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(int(code))
			_, _ = fmt.Fprintf(w, page, code, code) //nolint:gosec // it holds nothing of the request
			return
		}
		if err != nil {
			s.Log.Error("instance metadata", "path", r.URL.Path, "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, body) //nolint:gosec // an instance's own data, as plain text
		}
	})
}

// page is what errors look like.
const page = `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>%s</title>
 </head>
 <body>
  <h1>%s</h1>
 </body>
</html>
`

// answer is what a request gets.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, vpcID string) (string, error) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "", status(http.StatusBadRequest)
	}
	v, err := s.find(r.Context(), vpcID, from.Addr().Unmap())
	if errors.Is(err, store.ErrNotFound) {
		return "", status(http.StatusNotFound) // a task's interface, or a load balancer's
	}
	if err != nil {
		return "", err
	}
	options := v.instance.Spec.Metadata
	if options.Endpoint == "disabled" {
		return "", status(http.StatusForbidden)
	}
	if r.URL.Path == "/latest/api/token" {
		return s.token(w, r, v)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	default:
		w.Header().Set("Allow", "GET, HEAD")
		return "", status(http.StatusMethodNotAllowed)
	}
	if given := r.Header.Get(tokenHeader); given != "" || options.Tokens == "required" {
		left, ok := s.valid(v.instance.ID, given)
		if !ok {
			return "", status(http.StatusUnauthorized)
		}
		w.Header().Set(ttlHeader, strconv.Itoa(left))
	}
	return s.get(r.Context(), v, r.URL.Path)
}

// token begins a session. Its answer goes no further than the hop limit.
func (s *Service) token(w http.ResponseWriter, r *http.Request, v *view) (string, error) {
	if r.Method != http.MethodPut {
		w.Header().Set("Allow", "OPTIONS, PUT")
		return "", status(http.StatusMethodNotAllowed)
	}
	// What a proxy passes on comes from somebody else.
	if _, ok := r.Header["X-Forwarded-For"]; ok {
		return "", status(http.StatusForbidden)
	}
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || ttl < 1 || ttl > maxTTL {
		return "", status(http.StatusBadRequest)
	}
	if err := limitHops(r.Context(), max(v.instance.Spec.Metadata.HopLimit, 1)); err != nil {
		return "", fmt.Errorf("limit the hops of a token: %w", err)
	}
	w.Header().Set(ttlHeader, strconv.Itoa(ttl))
	expires := binary.BigEndian.AppendUint64(nil, uint64(s.Clock.Now().Unix())+uint64(ttl))
	return s.Key.Seal(tokenName(v.instance.ID), expires), nil
}

func tokenName(instanceID string) string { return "instance metadata token of " + instanceID }

// valid tells for how many more seconds a token is.
func (s *Service) valid(instanceID, token string) (int, bool) {
	b, err := s.Key.Open(tokenName(instanceID), token)
	if err != nil || len(b) != 8 {
		return 0, false
	}
	left := int64(binary.BigEndian.Uint64(b)) - s.Clock.Now().Unix()
	return int(left), left > 0 && left <= maxTTL
}

type connKey struct{}

// ConnContext is an http.Server's that serves a Handler: answers with tokens
// are limited in their connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context { return withConn(ctx, c) }

func withConn(ctx context.Context, c any) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// limitHops bounds how many hops what is sent on the request's connection
// goes. It stays so: the rest of the connection is the same client's.
func limitHops(ctx context.Context, hops int) error {
	conn := ctx.Value(connKey{})
	if conn == (nowhere{}) {
		return nil
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("the connection is not known")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, hops) })
	return errors.Join(err, result)
}

// versions of the service, all of which answer the same.
var versions = []string{
	"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "2011-01-01",
	"2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17",
	"2018-09-24", "2019-10-01", "2020-08-24", "2020-10-27", "2021-01-03", "2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", "latest",
}

// get is the content at a path.
func (s *Service) get(ctx context.Context, v *view, path string) (string, error) {
	folder := strings.HasSuffix(path, "/")
	parts := slices.DeleteFunc(strings.Split(path, "/"), func(p string) bool { return p == "" })
	if len(parts) == 0 {
		return strings.Join(versions, "\n"), nil
	}
	if !slices.Contains(versions, parts[0]) {
		return "", status(http.StatusNotFound)
	}
	all, err := s.tree(ctx, v)
	if err != nil {
		return "", err
	}
	at := strings.Join(parts[1:], "/")
	if content, ok := all[at]; ok && !folder {
		return content(ctx)
	}
	if list := all.list(at); list != "" {
		return list, nil
	}
	return "", status(http.StatusNotFound)
}

// tree is all contents by their paths.
type tree map[string]func(ctx context.Context) (string, error)

func (t tree) text(path, content string) {
	t[path] = func(context.Context) (string, error) { return content, nil }
}

// optional is text that is not there when it is empty.
func (t tree) optional(path, content string) {
	if content != "" {
		t.text(path, content)
	}
}

// list names what is in a folder, folders with a slash behind but at the top;
// empty when there is no such folder.
func (t tree) list(at string) string {
	prefix := at + "/"
	if at == "" {
		prefix = ""
	}
	var names []string
	for path := range t {
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		name, _, deeper := strings.Cut(rest, "/")
		if deeper && at != "" {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	// The list of keys tells their names, not their folders.
	if at == publicKeys && len(names) > 0 {
		content, err := t[publicKeyName](context.Background())
		if err != nil {
			return ""
		}
		return content
	}
	return strings.Join(names, "\n")
}
