package ecs

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// RegisterContainerInstance takes an instance into a cluster. An EC2 instance
// is one container instance of a cluster: one that registers twice, since it
// has forgotten that it did or has not heard the answer, gets the same.
func (s *Service) RegisterContainerInstance(ctx context.Context, in *ecs.RegisterContainerInstanceInput) (*ecs.RegisterContainerInstanceOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.activeCluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if in.ClientToken != nil && !registerToken.MatchString(*in.ClientToken) {
		return nil, ecs.NewInvalidParameterException("clientToken must have at most 64 printable characters.")
	}
	ec2, err := s.machine(ctx, sc, in)
	if err != nil {
		return nil, err
	}
	asked, err := registration(in, ec2)
	if err != nil {
		return nil, err
	}
	if asked.CapacityProviderName, err = s.providerOf(ctx, sc, cluster.V, ec2); err != nil {
		return nil, err
	}
	return retry(ctx, func() (*ecs.RegisterContainerInstanceOutput, error) {
		old, token, err := s.registered(ctx, sc, cluster.V, in, ec2)
		if err != nil {
			return nil, err
		}
		i := *asked
		tx := store.NewTxn()
		if old.V == nil {
			i.ID = id.Hex(32)
			i.ARN = model.ECSContainerInstanceARN(sc.region, sc.account, cluster.V.ClusterName, i.ID)
			i.ClusterName, i.ClusterARN = cluster.V.ClusterName, cluster.V.ClusterARN
			i.Status, i.RegisteredAt, i.AgentID = model.ContainerInstanceActive, sc.now, sc.call.Identity.UserID
			i.Version = 1
			tables.ECSClusters.Check(tx, cluster)
			tables.ECSContainerInstances.Create(tx, sc.account, sc.region, i.ClusterName+"/"+i.ID, &i)
			if token.Key.ID != "" {
				tables.ECSClientTokens.Replace(tx, token, &model.ECSClientToken{Resources: []string{i.ARN}, ExpiresAt: sc.now.Add(clientTokenLife)})
			}
		} else {
			if err := again(old.V, &i); err != nil {
				return nil, err
			}
			i.AgentID = sc.call.Identity.UserID
			tables.ECSContainerInstances.Replace(tx, old, &i)
		}
		if _, err := tx.Commit(ctx, s.store); err != nil {
			if fresh, cerr := s.activeCluster(ctx, sc, in.Cluster); cerr == nil {
				cluster = fresh // it was changed meanwhile, or somebody registered
			} else if errors.Is(err, store.ErrConflict) {
				return nil, cerr
			}
			return nil, err
		}
		shown, err := s.showContainerInstance(ctx, sc, &i, []ecs.ContainerInstanceField{ecs.ContainerInstanceFieldTags})
		return &ecs.RegisterContainerInstanceOutput{ContainerInstance: shown}, err
	})
}

// registered is the container instance that registers again, no row for one
// that is new. An external one is known by the request's client token alone,
// whose row it returns, to be written with a new instance.
func (s *Service) registered(ctx context.Context, sc scope, cluster *model.Cluster, in *ecs.RegisterContainerInstanceInput, ec2 *model.Instance) (instance store.Row[model.ContainerInstance], token store.Row[model.ECSClientToken], err error) {
	switch ref := val(in.ContainerInstanceArn); {
	case ref != "":
		instance, err = s.registeredAs(ctx, sc, cluster, ref, ec2)
	case ec2 != nil:
		instance, err = s.registeredOn(ctx, sc, cluster, ec2)
	case val(in.ClientToken) != "":
		return s.registeredBy(ctx, sc, cluster, *in.ClientToken)
	}
	return instance, token, err
}

// registeredAs is the instance that the agent says it is.
func (s *Service) registeredAs(ctx context.Context, sc scope, cluster *model.Cluster, ref string, ec2 *model.Instance) (store.Row[model.ContainerInstance], error) {
	var none store.Row[model.ContainerInstance]
	row, _, err := s.containerInstance(ctx, sc, cluster.ClusterName, ref)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return none, ecs.NewInvalidParameterException("Referenced container instance %s not found.", ref)
	case err != nil:
		return none, err
	case row.V.Status == model.ContainerInstanceInactive:
		return none, ecs.NewClientException("The referenced container instance was inactive.")
	case row.V.EC2InstanceID != instanceID(ec2):
		return none, ecs.NewClientException("Container instance %s is not the instance that registers.", row.V.ARN)
	case ec2 == nil && row.V.AgentID != sc.call.Identity.UserID:
		return none, ecs.NewClientException("Container instance %s was registered with other credentials.", row.V.ARN)
	}
	return row, nil
}

// registeredOn is the instance that an EC2 instance is already.
func (s *Service) registeredOn(ctx context.Context, sc scope, cluster *model.Cluster, ec2 *model.Instance) (store.Row[model.ContainerInstance], error) {
	rows, err := tables.ECSContainerInstances.List(ctx, s.store, store.Query{
		Account: sc.account, Region: sc.region, Prefix: cluster.ClusterName + "/",
		Index: store.Index{Name: tables.ByEC2Instance, Value: ec2.ID},
	})
	for _, r := range rows {
		if r.V.Status != model.ContainerInstanceInactive {
			return r, nil
		}
	}
	return store.Row[model.ContainerInstance]{}, err
}

var registerToken = regexp.MustCompile(`^[!-~]{1,64}$`)

// registeredBy is the external instance that the caller has registered under a
// client token: his agent has not heard the answer. What it tells anew counts.
func (s *Service) registeredBy(ctx context.Context, sc scope, cluster *model.Cluster, token string) (none store.Row[model.ContainerInstance], known store.Row[model.ECSClientToken], err error) {
	known, err = tables.ECSClientTokens.Get(ctx, s.store, sc.account, sc.region, "RegisterContainerInstance/"+cluster.ClusterName+"/"+sc.call.Identity.UserID+"/"+token)
	if errors.Is(err, store.ErrNotFound) || err == nil && !sc.now.Before(known.V.ExpiresAt) {
		return none, known, nil
	}
	if err != nil {
		return none, known, err
	}
	row, _, err := s.containerInstance(ctx, sc, cluster.ClusterName, known.V.Resources[0])
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Status == model.ContainerInstanceInactive {
		return none, known, nil
	}
	return row, known, err
}

func instanceID(i *model.Instance) string {
	if i == nil {
		return ""
	}
	return i.ID
}

// again lays what an instance tells anew over what is known of it.
func again(old, i *model.ContainerInstance) error {
	if t := "ecs.instance-type"; old.Attributes[t] != i.Attributes[t] {
		return ecs.NewClientException("Container instance type changes are not supported. Container instance: %s, previous type: %s, current type: %s.",
			old.ARN, old.Attributes[t], i.Attributes[t])
	}
	asked := *i
	*i = *old
	i.CPU, i.Memory, i.ENIs, i.GPUs = asked.CPU, asked.Memory, asked.ENIs, asked.GPUs
	i.ReservedPorts, i.ReservedUDPPorts = asked.ReservedPorts, asked.ReservedUDPPorts
	i.CapacityProviderName = asked.CapacityProviderName
	// What the user has put on it stays.
	// The request's own stay as they are, for another try.
	i.Attributes, i.Custom = maps.Clone(asked.Attributes), slices.Clone(asked.Custom)
	for _, name := range old.Custom {
		if _, told := i.Attributes[name]; !told {
			i.Attributes[name] = old.Attributes[name]
			i.Custom = append(i.Custom, name)
		}
	}
	if err := checkCustomCount(i); err != nil {
		return err
	}
	if len(asked.Tags) > 0 {
		i.Tags = maps.Clone(i.Tags)
		if i.Tags == nil {
			i.Tags = model.Tags{}
		}
		maps.Copy(i.Tags, asked.Tags)
	}
	if asked.AgentVersion != "" {
		i.AgentVersion, i.AgentHash, i.DockerVersion = asked.AgentVersion, asked.AgentHash, asked.DockerVersion
	}
	i.Version++
	return nil
}

// registration is what a request tells of an instance.
func registration(in *ecs.RegisterContainerInstanceInput, ec2 *model.Instance) (*model.ContainerInstance, error) {
	i := &model.ContainerInstance{EC2InstanceID: instanceID(ec2), External: ec2 == nil, Tags: tagsOf(in.Tags), Attributes: map[string]string{}}
	if v := in.VersionInfo; v != nil {
		i.AgentVersion, i.AgentHash, i.DockerVersion = val(v.AgentVersion), val(v.AgentHash), val(v.DockerVersion)
	}
	if err := resources(i, in.TotalResources); err != nil {
		return nil, err
	}
	for _, d := range in.PlatformDevices {
		if d.Type != ecs.PlatformDeviceTypeGpu {
			return nil, ecs.NewInvalidParameterException("Platform device type %s is not supported.", d.Type)
		}
		i.GPUs = append(i.GPUs, val(d.Id))
	}
	for _, a := range in.Attributes {
		if err := checkAttribute(a); err != nil {
			return nil, err
		}
		name := val(a.Name)
		i.Attributes[name] = val(a.Value)
		if !builtIn(name) && !slices.Contains(i.Custom, name) {
			i.Custom = append(i.Custom, name)
		}
	}
	if err := checkCustomCount(i); err != nil {
		return nil, err
	}
	return i, describeMachine(i, ec2)
}

// resources reads what the agent offers.
func resources(i *model.ContainerInstance, total []ecs.Resource) error {
	seen := map[string]bool{}
	for _, r := range total {
		name := val(r.Name)
		if seen[name] {
			return ecs.NewInvalidParameterException("Resource %s is given twice.", name)
		}
		seen[name] = true
		var err error
		switch name {
		case "CPU":
			i.CPU, err = amount(r)
		case "MEMORY":
			i.Memory, err = amount(r)
		case "PORTS":
			i.ReservedPorts, err = ports(r)
		case "PORTS_UDP":
			i.ReservedUDPPorts, err = ports(r)
		case "GPU":
			i.GPUs = r.StringSetValue
		default:
			err = ecs.NewInvalidParameterException("Resource %s is not known.", name)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"CPU", "MEMORY"} {
		if !seen[name] {
			return ecs.NewInvalidParameterException("Total resources must include %s.", name)
		}
	}
	return nil
}

// amount is a resource's whole number. Agents send INTEGER, others LONG.
func amount(r ecs.Resource) (int, error) {
	n := int64(val(r.IntegerValue))
	switch val(r.Type) {
	case "INTEGER":
	case "LONG":
		n = val(r.LongValue)
	default:
		return 0, ecs.NewInvalidParameterException("Resource %s must be of type INTEGER.", val(r.Name))
	}
	if n < 0 || n > 1<<31-1 || n == 0 && val(r.Name) == "MEMORY" {
		return 0, ecs.NewInvalidParameterException("Resource %s cannot be %d.", val(r.Name), n)
	}
	return int(n), nil
}

// maxReservedPorts is how many ports of a protocol an instance can reserve.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Resource.html
const maxReservedPorts = 100

func ports(r ecs.Resource) ([]int, error) {
	if val(r.Type) != "STRINGSET" {
		return nil, ecs.NewInvalidParameterException("Resource %s must be of type STRINGSET.", val(r.Name))
	}
	if len(r.StringSetValue) > maxReservedPorts {
		return nil, ecs.NewInvalidParameterException("Resource %s cannot have more than %d ports.", val(r.Name), maxReservedPorts)
	}
	out := []int{}
	for _, p := range r.StringSetValue {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, ecs.NewInvalidParameterException("Resource %s has an invalid port: %s", val(r.Name), p)
		}
		out = append(out, int(n))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// describeMachine adds the attributes that ECS itself gives an instance, and
// holds what the agent says against what its EC2 instance is.
func describeMachine(i *model.ContainerInstance, ec2 *model.Instance) error {
	known := map[string]string{}
	if ec2 != nil {
		known["ecs.availability-zone"], known["ecs.instance-type"] = ec2.Spec.Zone, ec2.Spec.Type
		known["ecs.ami-id"], known["ecs.subnet-id"], known["ecs.vpc-id"] = ec2.Spec.ImageID, ec2.Spec.SubnetID, ec2.Spec.VPCID
		if t, ok := instancetype.Find(ec2.Spec.Type); ok {
			i.ENIs = max(0, int(t.MaxInterfaces)-1) // one is the instance's own
			if most := int(t.VCPUs) * 1024; i.CPU > most {
				return ecs.NewClientException("The instance registers %d CPU units; its type %s has %d.", i.CPU, t.Name, most)
			}
			if most := t.MemoryMiB; int64(i.Memory) > most {
				return ecs.NewClientException("The instance registers %d MiB of memory; its type %s has %d.", i.Memory, t.Name, most)
			}
			known["ecs.cpu-architecture"] = t.Architectures[0]
		}
	}
	for name, v := range known {
		told, ok := i.Attributes[name]
		if !ok || told == "" {
			i.Attributes[name] = v
			continue
		}
		if !strings.EqualFold(told, v) {
			return ecs.NewClientException("The instance registers with the attribute %s=%s; it is %s.", name, told, v)
		}
	}
	if i.Attributes["ecs.os-type"] == "" {
		i.Attributes["ecs.os-type"] = "linux"
	}
	return nil
}
