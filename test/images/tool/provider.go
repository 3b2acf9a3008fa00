package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"roadstead.dev/internal/balancer/auth/authtest"
)

// provider serves a provider of identities by HTTPS until SIGTERM, with the
// certificate and key of $TLS_CERTIFICATE and $TLS_KEY.
func provider(ctx context.Context, args []string) error {
	p := &authtest.Provider{Life: time.Hour, Claims: map[string]any{"email": "user@example.com"}}
	if _, err := flags("provider", args, func(f *flag.FlagSet) {
		f.StringVar(&p.Issuer, "issuer", "", "")
		f.StringVar(&p.ClientID, "client", "", "")
		f.StringVar(&p.ClientSecret, "secret", "", "")
		f.StringVar(&p.RedirectURI, "redirect", "", "")
	}); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair([]byte(os.Getenv("TLS_CERTIFICATE")), []byte(os.Getenv("TLS_KEY")))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	srv := &http.Server{
		Addr: ":443", Handler: p, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServeTLS("", "") }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	_ = srv.Close()
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	fmt.Println("stopped")
	return nil
}
