package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// statusPath answers counts alone, and so needs no signature.
const statusPath = "/_roadstead/status"

// status is what the server says of itself.
type status struct {
	Version  string         `json:"version"`
	Uptime   string         `json:"uptime"`
	Prefix   string         `json:"prefix"`
	Engine   string         `json:"engine"`
	Clusters int            `json:"clusters"`
	Services int            `json:"services"`
	Tasks    map[string]int `json:"tasks"`
	// Instances by state; Nodes are container instances, Connected those whose
	// agents are.
	Instances     map[string]int `json:"instances"`
	Nodes         int            `json:"containerInstances"`
	Connected     int            `json:"connectedAgents"`
	Groups        int            `json:"autoScalingGroups"`
	LoadBalancers int            `json:"loadBalancers"`
	Repositories  int            `json:"repositories"`
	VPCs          int            `json:"vpcs"`
}

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell what runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			run, err := readRunState(o.absDataDir())
			if errors.Is(err, errNotRunning) {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "No server is running on %s. Start one: roadstead up --detach\n", o.absDataDir())
				if err != nil {
					return err
				}
				return exitCode(1)
			}
			if err != nil {
				return err
			}
			o.listen = run.Listen
			if host, _, err := net.SplitHostPort(run.Listen); err == nil && !loopback(host) {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "A server runs at %s (pid %d, since %s). It counts what it holds only where it listens on loopback alone.\n", o.endpoint(), run.PID, run.Started.Format(time.DateTime))
				return err
			}
			st, err := askStatus(cmd.Context(), o)
			if err != nil {
				return fmt.Errorf("process %d runs but does not answer at %s: %w", run.PID, o.endpoint(), err)
			}
			return printStatus(cmd.OutOrStdout(), o, run, st)
		},
	}
}

func askStatus(ctx context.Context, o *options) (status, error) {
	var st status
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.endpoint()+statusPath, nil)
	if err != nil {
		return st, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return st, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return st, errors.New(resp.Status)
	}
	return st, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&st)
}

func printStatus(w io.Writer, o *options, run runState, st status) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows := [][2]string{
		{"server", fmt.Sprintf("%s, pid %d, up %s", st.Version, run.PID, st.Uptime)},
		{"endpoint", o.endpoint() + ", and https (its authority: roadstead ca)"},
		{"account", run.Account + " " + run.Region},
		{"engine", st.Engine},
		{"data", o.absDataDir() + ", names on this machine begin with " + st.Prefix},
		{"clusters", fmt.Sprint(st.Clusters)},
		{"services", fmt.Sprint(st.Services)},
	}
	for _, s := range []string{"PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING"} {
		if n := st.Tasks[s]; n > 0 {
			rows = append(rows, [2]string{"tasks " + s, fmt.Sprint(n)})
		}
	}
	for _, s := range []string{model.InstancePending, model.InstanceRunning, model.InstanceStopping, model.InstanceStopped, model.InstanceShuttingDown} {
		if n := st.Instances[s]; n > 0 {
			rows = append(rows, [2]string{"instances " + s, fmt.Sprint(n)})
		}
	}
	if st.Nodes > 0 {
		rows = append(rows, [2]string{"container instances", fmt.Sprintf("%d, %d with agent connected", st.Nodes, st.Connected)})
	}
	if st.Groups > 0 {
		rows = append(rows, [2]string{"Auto Scaling groups", fmt.Sprint(st.Groups)})
	}
	rows = append(rows,
		[2]string{"load balancers", fmt.Sprint(st.LoadBalancers)},
		[2]string{"repositories", fmt.Sprint(st.Repositories)},
		[2]string{"VPCs", fmt.Sprint(st.VPCs)})
	for _, r := range rows {
		if _, err := fmt.Fprintf(tw, "%s\t%s\n", r[0], r[1]); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// statusHandler counts what the store holds.
func statusHandler(s store.Store, o *options, begun time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		st, err := countRecords(r.Context(), s)
		if err != nil {
			http.Error(w, "the records cannot be read", http.StatusInternalServerError)
			return
		}
		st.Version, st.Prefix, st.Engine = version, o.prefix(), o.engine
		st.Uptime = time.Since(begun).Round(time.Second).String()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(st) // the client is gone when it fails
	})
}

func countRecords(ctx context.Context, s store.Store) (status, error) {
	st := status{Tasks: map[string]int{}, Instances: map[string]int{}}
	clusters, err := tables.ECSClusters.List(ctx, s, store.Query{})
	if err != nil {
		return st, err
	}
	for _, c := range clusters {
		if c.V.Status == "ACTIVE" {
			st.Clusters++
		}
	}
	services, err := tables.ECSServices.List(ctx, s, store.Query{})
	if err != nil {
		return st, err
	}
	for _, sv := range services {
		if sv.V.Status != "INACTIVE" {
			st.Services++
		}
	}
	for _, q := range tables.LiveTasks() {
		tasks, err := tables.ECSTasks.List(ctx, s, q)
		if err != nil {
			return st, err
		}
		for _, t := range tasks {
			st.Tasks[t.V.Status.LastStatus]++
		}
	}
	instances, err := tables.Instances.List(ctx, s, store.Query{})
	if err != nil {
		return st, err
	}
	for _, i := range instances {
		st.Instances[i.V.State()]++
	}
	nodes, err := tables.ECSContainerInstances.List(ctx, s, store.Query{})
	if err != nil {
		return st, err
	}
	for _, n := range nodes {
		if n.V.Status == model.ContainerInstanceInactive {
			continue
		}
		st.Nodes++
		if n.V.Connection.Connected {
			st.Connected++
		}
	}
	for _, c := range []struct {
		n    *int
		kind store.Kind
	}{{&st.LoadBalancers, tables.LoadBalancers.Kind()}, {&st.Repositories, tables.ECRRepositories.Kind()}, {&st.VPCs, tables.VPCs.Kind()}, {&st.Groups, tables.AutoScalingGroups.Kind()}} {
		rs, _, err := s.List(ctx, store.Query{Kind: c.kind})
		if err != nil {
			return st, err
		}
		*c.n = len(rs)
	}
	return st, nil
}
