package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Teardown removes all that an instance ever made: namespaces, links, routes,
// rules. It needs no Network, and no server may be running on the instance.
// It goes on after errors and returns them together.
func Teardown(ctx context.Context, cfg Config) error {
	if !validPrefix.MatchString(cfg.Prefix) || !filepath.IsAbs(cfg.Dir) {
		return fmt.Errorf("teardown of network %q in %q: not an instance", cfg.Prefix, cfg.Dir)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.Join(
		removeNamespaces(filepath.Join(cfg.Dir, "ns")),
		removeNamespaces(filepath.Join(cfg.Dir, "vpc")),
		removeIfEmpty(cfg.Dir),
		removeLinks(cfg.Prefix+"v"),
		removeTable(cfg.Prefix),
		restoreForwarding(),
	)
}

func removeNamespaces(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, dropNetns(filepath.Join(dir, e.Name())))
	}
	errs = append(errs, removeIfEmpty(dir))
	return errors.Join(errs...)
}

func removeIfEmpty(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func removeLinks(prefix string) error {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, prefix) {
			if err := netlink.LinkDel(l); err != nil && !isNotFound(err) {
				errs = append(errs, fmt.Errorf("remove %s: %w", l.Attrs().Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func removeTable(name string) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return fmt.Errorf("list nftables: %w", err)
	}
	for _, t := range tables {
		if t.Name == name {
			conn.DelTable(t)
		}
	}
	return conn.Flush()
}
