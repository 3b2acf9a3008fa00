// Command instances measures how long RunInstances takes until an instance
// runs and has carried out its user data, and what memory idle instances take.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
	"roadstead.dev/internal/engine/cgroup"
)

func main() {
	rounds := flag.Int("n", 20, "how many instances are launched one at a time")
	many := flag.Int("many", 100, "how many are launched at once, and left idle")
	binary := flag.String("roadstead", "", "the program to measure; empty builds it")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	report.Main("instances", *keep, func(ctx context.Context) (string, error) { return run(ctx, *binary, *rounds, *many) })
}

// bench is a server with its folder.
type bench struct {
	*server.Server
	ec2 *ec2.Client
	dir string
}

func run(ctx context.Context, binary string, rounds, many int) (text string, err error) {
	if os.Geteuid() != 0 {
		return "", errors.New("instances take root")
	}
	dir, err := os.MkdirTemp("", "roadstead-bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if binary == "" {
		if binary, err = server.Build(ctx, dir); err != nil {
			return "", err
		}
	}
	data := filepath.Join(dir, "data")
	s, err := server.Start(ctx, server.Options{Binary: binary, DataDir: data, Engine: "containerd"})
	if s != nil {
		defer func() { err = errors.Join(err, s.Down()) }()
	}
	if err != nil {
		return "", err
	}
	b := &bench{Server: s, ec2: ec2.NewFromConfig(s.Config()), dir: data}
	var running, booted report.Samples[time.Duration]
	for range rounds {
		if err := b.one(ctx, &running, &booted); err != nil {
			return "", err
		}
	}
	began := time.Now()
	ids, err := b.launch(ctx, many, plainImage, "", "")
	if err != nil {
		return "", err
	}
	if err := b.await(ctx, ids, b.running); err != nil {
		return "", err
	}
	all := time.Since(began)
	if err := b.await(ctx, ids, b.booted); err != nil {
		return "", err
	}
	select {
	case <-time.After(3 * time.Second): // for what is only there while booting
	case <-ctx.Done():
		return "", ctx.Err()
	}
	sum, processes, err := b.memory(ids)
	if err != nil {
		return "", err
	}
	began = time.Now()
	if _, err := b.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return "", err
	}
	if err := b.await(ctx, ids, b.gone); err != nil {
		return "", err
	}
	gone := time.Since(began)
	ecs, err := b.containerInstances(ctx, rounds, many)
	if err != nil {
		return "", err
	}

	var out strings.Builder
	out.WriteString("## Instances\n\nFrom the call of RunInstances, one instance at a time, with user data that writes a file. No peer starts any.\n\n")
	out.WriteString(report.Table(append([]string{""}, report.Columns()...),
		append([]string{"until DescribeInstances says running"}, report.Cells(&running, report.Milliseconds)...),
		append([]string{"until the user data has ended"}, report.Cells(&booted, report.Milliseconds)...)))
	fmt.Fprintf(&out, "\n%d at once, and then idle:\n\n", many)
	out.WriteString(report.Table([]string{"", ""},
		[]string{"until all run", report.Milliseconds(all)},
		[]string{"until all are gone, after TerminateInstances", report.Milliseconds(gone)},
		[]string{"processes", strconv.Itoa(processes)},
		[]string{"memory of all (PSS)", report.Megabytes(sum)},
		[]string{"memory of one (PSS)", report.Megabytes(sum / int64(many))}))
	out.WriteString(ecs)
	return out.String(), nil
}

const plainImage = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"

// one launches an instance, measures it, and terminates it.
func (b *bench) one(ctx context.Context, running, booted *report.Samples[time.Duration]) error {
	began := time.Now()
	ids, err := b.launch(ctx, 1, plainImage, "", "#!/bin/sh\necho done > /var/proof\n")
	if err != nil {
		return err
	}
	if err := b.await(ctx, ids, b.running); err != nil {
		return err
	}
	running.Add(time.Since(began))
	if err := b.await(ctx, ids, b.booted); err != nil {
		return err
	}
	booted.Add(time.Since(began))
	if _, err := b.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return err
	}
	return b.await(ctx, ids, b.gone)
}

func (b *bench) launch(ctx context.Context, n int, image, profile, userData string) ([]string, error) {
	in := &ec2.RunInstancesInput{
		ImageId: new(image), InstanceType: types.InstanceTypeT3Micro, MinCount: new(int32(n)), MaxCount: new(int32(n)),
	}
	if profile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: new(profile)}
	}
	if userData != "" {
		in.UserData = new(base64.StdEncoding.EncodeToString([]byte(userData)))
	}
	out, err := b.ec2.RunInstances(ctx, in)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, *i.InstanceId)
	}
	return ids, nil
}

// await asks every few milliseconds until done says yes.
func (b *bench) await(ctx context.Context, ids []string, done func(context.Context, []string) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		ok, err := done(ctx, ids)
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// are tells whether all instances are in a state.
func (b *bench) are(ctx context.Context, ids []string, state types.InstanceStateName) (bool, error) {
	out, err := b.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		return false, err
	}
	n := 0
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if i.State.Name == state {
				n++
			}
		}
	}
	return n == len(ids), nil
}

func (b *bench) running(ctx context.Context, ids []string) (bool, error) {
	return b.are(ctx, ids, types.InstanceStateNameRunning)
}

func (b *bench) gone(ctx context.Context, ids []string) (bool, error) {
	return b.are(ctx, ids, types.InstanceStateNameTerminated)
}

// booted looks for what the first process writes once the user data has ended.
func (b *bench) booted(_ context.Context, ids []string) (bool, error) {
	for _, id := range ids {
		if _, err := os.Stat(filepath.Join(b.dir, "instances", id, "booted")); err != nil {
			return false, nil //nolint:nilerr // not yet
		}
	}
	return true, nil
}

// memory sums that of all processes in instances.
func (b *bench) memory(ids []string) (sum int64, processes int, err error) {
	groups, err := cgroup.Detect()
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		group, err := groupOf(filepath.Join(b.dir, "instances", id, "spec.json"))
		if err != nil {
			return 0, 0, err
		}
		for _, pid := range groups.ProcessesBelow(group) {
			m, err := server.MemoryOf(pid)
			if err != nil {
				continue // it has ended meanwhile
			}
			sum += m.PSS
			processes++
		}
	}
	if processes < len(ids) {
		return 0, 0, fmt.Errorf("%d processes in %d instances", processes, len(ids))
	}
	return sum, processes, nil
}
