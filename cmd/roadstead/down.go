package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"roadstead.dev/internal/engine/containerd"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/initproc"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/network/hostsfile"
)

func downCommand(o *options) *cobra.Command {
	var deleteData bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the server and all that it runs, and leave nothing of it on the machine",
		Long: `Stop the server and all that it runs: containers, load balancers, networks, a
containerd that it started, names in the hosts file. Records, images in ECR and
logs stay in the data folder for the next up, unless --delete-data is given.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := stopServer(o.absDataDir(), 30*time.Second); err != nil {
				return fmt.Errorf("stop the server: %w", err)
			}
			if os.Geteuid() == 0 {
				if err := o.tearDown(cmd.Context()); err != nil {
					return err
				}
			}
			if deleteData {
				if err := os.RemoveAll(o.absDataDir()); err != nil {
					return err
				}
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "Roadstead is down; nothing of it runs on this machine.")
			return err
		},
	}
	cmd.Flags().BoolVar(&deleteData, "delete-data", false, "delete the data folder too")
	return cmd
}

// tearDown removes what the instance made outside its data folder. It goes on
// after errors and returns them together.
func (o *options) tearDown(ctx context.Context) error {
	errs := []error{o.endInstances(ctx), o.purgeEngines(ctx)}
	errs = append(errs, network.Teardown(ctx, o.networkConfig()))
	if o.hostsFile != "no" {
		errs = append(errs, hostsfile.Remove(o.hostsFile, o.prefix()))
	}
	errs = append(errs, os.RemoveAll(o.runDir()))
	_ = os.Remove(filepath.Dir(o.runDir())) // another instance may still be there
	_ = os.Remove(runStatePath(o.absDataDir()))
	return errors.Join(errs...)
}

// purgeEngines removes the instance's containers from every containerd that
// it may have used, and ends the one that it started.
func (o *options) purgeEngines(ctx context.Context) error {
	var errs []error
	own := o.superviseConfig()
	for _, address := range []string{o.containerd, supervise.DefaultAddress, filepath.Join(own.RunDir, "containerd.sock")} {
		if address == "" || !supervise.Answers(ctx, address) {
			continue
		}
		e, err := containerd.New(ctx, o.engineConfig(address))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, e.Purge(ctx), e.Close())
	}
	return errors.Join(append(errs, supervise.Stop(ctx, own))...)
}

// runDir holds what must not outlive a boot.
func (o *options) runDir() string { return filepath.Join("/run/roadstead", o.prefix()) }

// nodeDir holds what the Fargate node knows of its tasks.
func (o *options) nodeDir() string { return filepath.Join(o.absDataDir(), "node") }

// spoolDir is where containers' loggers leave their lines.
func (o *options) spoolDir() string { return filepath.Join(o.absDataDir(), "logs", "spool") }

func (o *options) networkConfig() network.Config {
	return network.Config{Prefix: o.prefix(), Dir: filepath.Join(o.runDir(), "net")}
}

func (o *options) superviseConfig() supervise.Config {
	return supervise.Config{
		Root:   filepath.Join(o.absDataDir(), "containerd"),
		RunDir: filepath.Join(o.runDir(), "containerd"),
		Cgroup: "/roadstead-" + o.prefix() + ".containerd",
	}
}

func (o *options) engineConfig(address string) containerd.Config {
	return containerd.Config{Address: address, Namespace: o.prefix(), StateDir: filepath.Join(o.runDir(), "engine"), InitCommand: o.initCommand()}
}

// initCommand is the init of containers that ask for one.
func (o *options) initCommand() []string {
	exe, err := helper()
	if err != nil {
		return nil
	}
	return []string{exe, initproc.Subcommand}
}
