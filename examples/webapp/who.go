package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// who is what the task knows of itself.
type who struct {
	TaskARN  string
	Family   string
	Revision string
	Cluster  string
	Zone     string
	Address  string
	Hostname string
}

// whoAmI asks the task metadata endpoint, and does without it where there is
// none.
func whoAmI(ctx context.Context) who {
	w := who{TaskARN: "not a task", Address: ownAddress()}
	w.Hostname, _ = os.Hostname() // empty is as good
	endpoint := os.Getenv("ECS_CONTAINER_METADATA_URI_V4")
	if endpoint == "" {
		return w
	}
	var task struct {
		TaskARN, Family, Revision, Cluster, AvailabilityZone string
		Containers                                           []struct {
			Networks []struct {
				IPv4Addresses []string
			}
		}
	}
	if err := getJSON(ctx, endpoint+"/task", &task); err != nil {
		w.TaskARN = "unknown: " + err.Error()
		return w
	}
	w.TaskARN, w.Family, w.Revision = task.TaskARN, task.Family, task.Revision
	w.Zone, w.Cluster = task.AvailabilityZone, task.Cluster[strings.LastIndex(task.Cluster, "/")+1:]
	for _, c := range task.Containers {
		for _, n := range c.Networks {
			if len(n.IPv4Addresses) > 0 {
				w.Address = n.IPv4Addresses[0]
			}
		}
	}
	return w
}

// getJSON reads url, and tries again for a while: metadata is there a moment
// after the container.
func getJSON(ctx context.Context, url string, v any) error {
	client := http.Client{Timeout: 2 * time.Second}
	var err error
	for range 5 {
		if err = getOnce(ctx, &client, url, v); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return err
}

func getOnce(ctx context.Context, client *http.Client, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// ownAddress is the first address of the host that others can reach.
func ownAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return ""
}
