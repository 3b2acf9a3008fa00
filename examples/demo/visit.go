package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"time"
)

// requests is how often the demo asks the balancer.
const requests = 10

var taskPattern = regexp.MustCompile(`task/\S+/([0-9a-f]{32})`)

// visit requests the page through the balancer and shows that both tasks
// answer.
func (d *demo) visit(ctx context.Context) error {
	base, err := d.url(ctx)
	if err != nil {
		return err
	}
	d.out.begin(fmt.Sprintf("Ask the load balancer %d times who answers", requests), "curl "+base)
	tasks := map[string]int{}
	for range requests {
		body, err := d.get(ctx, base)
		if err != nil {
			return err
		}
		m := taskPattern.FindStringSubmatch(body)
		if m == nil {
			return fmt.Errorf("%s answered without naming a task: %q", base, body)
		}
		tasks[m[1]]++
	}
	for task, n := range tasks {
		d.out.say("task %s answered %d times", task, n)
	}
	if len(tasks) < 2 {
		return errors.New("only one task answered")
	}
	fmt.Fprintf(d.out.w, `
It runs: %s

Look around (after eval $(bin/roadstead env)):
    aws ecs describe-services --cluster %[2]s --services web
    aws ecs list-tasks --cluster %[2]s
    aws elbv2 describe-target-health --target-group-arn %[3]s
    aws ecs update-service --cluster %[2]s --service web --desired-count 4
    %[4]s
Stop it all: make down
`, base, name, d.targetGroup, cliTail)
	return nil
}

// url is where a browser on this machine finds the balancer: its own port,
// or the API endpoint's when another program has that one.
func (d *demo) url(ctx context.Context) (string, error) {
	port, err := d.port()
	if err != nil {
		return "", err
	}
	candidates := []string{"http://" + d.dnsName + "/", "http://" + d.dnsName + ":" + port + "/"}
	for _, c := range candidates {
		if body, err := d.get(ctx, c); err == nil && taskPattern.MatchString(body) {
			return c, nil
		}
	}
	return "", fmt.Errorf("the load balancer answers at none of %v", candidates)
}

// browser resolves names as curl and browsers do: all that ends in .localhost
// is this machine.
var browser = &http.Client{
	Timeout: 5 * time.Second,
	Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	},
}

func (d *demo) get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := browser.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return string(body), nil
}
