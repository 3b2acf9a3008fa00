package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"roadstead.dev/bench/internal/server"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/bolt"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	cluster = "default"
	// What the server is asked to make, for copies to be made of.
	seedFamily, seedService = "seedfamily", "seedservice"
	revisions               = 10 // of each family
)

// scale is how much a store holds.
type scale struct{ definitions, services, tasks int }

func (s scale) of(share float64) scale {
	n := func(n int) int { return max(int(float64(n)*share), revisions) }
	return scale{n(s.definitions), n(s.services), n(s.tasks)}
}

func family(i int) string  { return fmt.Sprintf("family-%05d", i) }
func service(i int) string { return fmt.Sprintf("service-%05d", i) }

// taskID of the nth task.
func taskID(n int) string {
	sum := sha256.Sum256(fmt.Append(nil, "task ", n))
	return hex.EncodeToString(sum[:16])
}

// fill makes a data folder that holds as much as s says: records that the
// server itself wrote, copied under other names.
func fill(ctx context.Context, binary, dir string, s scale) error {
	srv, err := server.Start(ctx, server.Options{Binary: binary, DataDir: dir, Engine: "fake"})
	if err != nil {
		return err
	}
	task, err := seed(ctx, srv.Config())
	if err := errors.Join(err, srv.Stop()); err != nil {
		return err
	}
	st, err := bolt.Open(filepath.Join(dir, "roadstead.db"), bolt.Options{})
	if err != nil {
		return err
	}
	c := &copier{ctx: ctx, store: st, tx: store.NewTxn()}
	return errors.Join(c.all(s, task), st.Close())
}

// seed makes one of each through the API, and returns the id of the task, which
// has stopped.
func seed(ctx context.Context, cfg aws.Config) (string, error) {
	api, network := ecs.NewFromConfig(cfg), ec2.NewFromConfig(cfg)
	subnets, err := network.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return "", err
	}
	awsvpc := &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{*subnets.Subnets[0].SubnetId}}}
	if _, err := api.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: aws.String(cluster)}); err != nil {
		return "", err
	}
	for range revisions {
		_, err := api.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
			Family: aws.String(seedFamily), Cpu: aws.String("256"), Memory: aws.String("512"),
			NetworkMode: types.NetworkModeAwsvpc, RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
			ContainerDefinitions: []types.ContainerDefinition{{
				Name: aws.String("web"), Image: aws.String("public.ecr.aws/docker/library/nginx:1.27"),
				PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(80)}},
				Environment:  []types.KeyValuePair{{Name: aws.String("STAGE"), Value: aws.String("bench")}},
			}},
		})
		if err != nil {
			return "", err
		}
	}
	if _, err := api.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: aws.String(cluster), ServiceName: aws.String(seedService), TaskDefinition: aws.String(seedFamily),
		DesiredCount: aws.Int32(1), LaunchType: types.LaunchTypeFargate, NetworkConfiguration: awsvpc,
	}); err != nil {
		return "", err
	}
	in := &ecs.DescribeServicesInput{Cluster: aws.String(cluster), Services: []string{seedService}}
	if err := ecs.NewServicesStableWaiter(api, func(o *ecs.ServicesStableWaiterOptions) { o.MinDelay, o.MaxDelay = time.Second, time.Second }).Wait(ctx, in, time.Minute); err != nil {
		return "", err
	}
	tasks, err := api.ListTasks(ctx, &ecs.ListTasksInput{Cluster: aws.String(cluster)})
	if err != nil || len(tasks.TaskArns) == 0 {
		return "", fmt.Errorf("the service has no task: %w", err)
	}
	if _, err := api.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: aws.String(cluster), Service: aws.String(seedService), DesiredCount: aws.Int32(0)}); err != nil {
		return "", err
	}
	wait := ecs.NewTasksStoppedWaiter(api, func(o *ecs.TasksStoppedWaiterOptions) { o.MinDelay, o.MaxDelay = time.Second, time.Second })
	if err := wait.Wait(ctx, &ecs.DescribeTasksInput{Cluster: aws.String(cluster), Tasks: tasks.TaskArns[:1]}, time.Minute); err != nil {
		return "", err
	}
	arn := tasks.TaskArns[0]
	return arn[strings.LastIndexByte(arn, '/')+1:], nil
}

// copier writes copies of the seed's records, many in a transaction.
type copier struct {
	ctx   context.Context //nolint:containedctx // lives for one call of fill
	store store.Store
	tx    *store.Txn
	n     int
}

func (c *copier) all(s scale, task string) error {
	if err := c.definitions(s.definitions); err != nil {
		return err
	}
	if err := c.services(s.services); err != nil {
		return err
	}
	if err := c.stopped(s, task); err != nil {
		return err
	}
	return c.commit()
}

func (c *copier) added() error {
	if c.n++; c.n < 500 {
		return nil
	}
	return c.commit()
}

func (c *copier) commit() error {
	_, err := c.tx.Commit(c.ctx, c.store)
	c.tx, c.n = store.NewTxn(), 0
	return err
}

// renamed is a copy of a record's value in which names are replaced.
func renamed[T any](v *T, names ...string) (*T, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := new(T)
	return out, json.Unmarshal([]byte(strings.NewReplacer(names...).Replace(string(b))), out)
}

func (c *copier) definitions(n int) error {
	families, err := tables.ECSTaskDefFamilies.Get(c.ctx, c.store, account, server.Region, seedFamily)
	if err != nil {
		return err
	}
	rows, err := tables.ECSTaskDefinitions.List(c.ctx, c.store, store.Query{Account: account, Region: server.Region, Prefix: seedFamily + "/"})
	if err != nil {
		return err
	}
	for i := range n / revisions {
		f, err := renamed(families.V, seedFamily, family(i))
		if err != nil {
			return err
		}
		tables.ECSTaskDefFamilies.Put(c.tx, account, server.Region, family(i), f)
		for _, r := range rows {
			d, err := renamed(r.V, seedFamily, family(i))
			if err != nil {
				return err
			}
			tables.ECSTaskDefinitions.Put(c.tx, account, server.Region, strings.Replace(r.Key.ID, seedFamily, family(i), 1), d)
			if err := c.added(); err != nil {
				return err
			}
		}
	}
	return nil
}

// services copies the service with all that is kept of it.
func (c *copier) services(n int) error {
	for i := range n {
		names := []string{seedService, service(i), seedFamily, family(i % max(n/2, 1))}
		if err := errors.Join(
			copyAll(c, tables.ECSServices, cluster+"/"+seedService, names),
			copyAll(c, tables.ECSServiceEvents, cluster+"/"+seedService, names),
			copyAll(c, tables.ECSServiceDeployments, cluster+"/"+seedService+"/", names),
			copyAll(c, store.NewTable[json.RawMessage]("ecs", "ServiceState"), cluster+"/"+seedService, names),
		); err != nil {
			return err
		}
		if err := c.added(); err != nil {
			return err
		}
	}
	return nil
}

func copyAll[T any](c *copier, t *store.Table[T], prefix string, names []string) error {
	rows, err := t.List(c.ctx, c.store, store.Query{Account: account, Region: server.Region, Prefix: prefix})
	if err != nil {
		return err
	}
	for _, r := range rows {
		v, err := renamed(r.V, names...)
		if err != nil {
			return err
		}
		t.Put(c.tx, account, server.Region, strings.NewReplacer(names...).Replace(r.Key.ID), v)
	}
	return nil
}

// stopped copies the task: half of the copies are the services', half somebody
// started.
func (c *copier) stopped(s scale, task string) error {
	row, err := tables.ECSTasks.Get(c.ctx, c.store, account, server.Region, cluster+"/"+task)
	if err != nil {
		return err
	}
	now := time.Now()
	for i := range s.tasks {
		id := taskID(i)
		v, err := renamed(row.V, task, id, seedService, service(i%s.services), seedFamily, family(i%max(s.definitions/revisions, 1)))
		if err != nil {
			return err
		}
		if i%2 == 1 {
			v.Spec.Group, v.Spec.StartedBy = "family:"+v.Spec.Family, fmt.Sprintf("ci-%d", i%97)
		}
		// They are to stay for as long as the measurement takes.
		v.Status.StoppedAt = now.Add(-time.Duration(1+i%45) * time.Minute)
		if v.Status.LastStatus != model.TaskStopped {
			return errors.New("the task has not stopped")
		}
		tables.ECSTasks.Put(c.tx, account, server.Region, cluster+"/"+id, v)
		if err := c.added(); err != nil {
			return err
		}
	}
	return nil
}
