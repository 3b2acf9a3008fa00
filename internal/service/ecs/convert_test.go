package ecs

import (
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
)

// TestConvertCoversTheAPI lists every member of the API that no record keeps.
// A member that AWS adds shows up here, to be kept or to be refused by name.
func TestConvertCoversTheAPI(t *testing.T) {
	seen := map[[2]reflect.Type]bool{}
	var lost []string
	var walk func(from, to reflect.Type)
	base := func(t reflect.Type) reflect.Type {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		return t
	}
	walk = func(from, to reflect.Type) {
		from, to = base(from), base(to)
		if from.Kind() != reflect.Struct || from == timeType || seen[[2]reflect.Type{from, to}] {
			return
		}
		seen[[2]reflect.Type{from, to}] = true
		if to.Kind() != reflect.Struct {
			lost = append(lost, from.Name()+" is no "+to.String())
			return
		}
		for f := range from.Fields() {
			j := slices.IndexFunc(reflect.VisibleFields(to), func(g reflect.StructField) bool { return strings.EqualFold(f.Name, g.Name) })
			if j < 0 {
				lost = append(lost, from.Name()+"."+f.Name)
				continue
			}
			walk(f.Type, reflect.VisibleFields(to)[j].Type)
		}
	}
	walk(reflect.TypeFor[ecs.RegisterTaskDefinitionInput](), reflect.TypeFor[model.TaskDefinition]())
	walk(reflect.TypeFor[ecs.TaskOverride](), reflect.TypeFor[model.TaskOverride]())
	walk(reflect.TypeFor[ecs.NetworkConfiguration](), reflect.TypeFor[model.ECSNetworkConfiguration]())
	walk(reflect.TypeFor[ecs.DeploymentConfiguration](), reflect.TypeFor[model.ServiceDeploymentConfiguration]())
	walk(reflect.TypeFor[ecs.LoadBalancer](), reflect.TypeFor[model.ServiceLoadBalancer]())
	walk(reflect.TypeFor[ecs.ClusterConfiguration](), reflect.TypeFor[model.ClusterConfiguration]())
	walk(reflect.TypeFor[ecs.CapacityProviderStrategyItem](), reflect.TypeFor[model.CapacityProviderStrategyItem]())
	sort.Strings(lost)
	want := []string{
		"DeploymentConfiguration.Alarms",                    // refused when enabled
		"DeploymentConfiguration.CanaryConfiguration",       // refused
		"DeploymentConfiguration.LifecycleHooks",            // refused
		"DeploymentConfiguration.LinearConfiguration",       // refused
		"LoadBalancer.AdvancedConfiguration",                // refused
		"RegisterTaskDefinitionInput.InferenceAccelerators", // refused
		"Tag is no model.Tags",                              // tagsOf
		"TaskOverride.InferenceAcceleratorOverrides",        // refused
		"Volume.FsxWindowsFileServerVolumeConfiguration",    // refused
		"Volume.S3filesVolumeConfiguration",                 // refused
	}
	if d := cmp.Diff(want, lost); d != "" {
		t.Error(d)
	}
}

func TestConvertRoundTrip(t *testing.T) {
	in := webDefinition()
	in.ContainerDefinitions[0].LinuxParameters = &ecs.LinuxParameters{
		InitProcessEnabled: new(false), Capabilities: &ecs.KernelCapabilities{Drop: []string{"ALL"}},
		Tmpfs: []ecs.Tmpfs{{ContainerPath: new("/t"), Size: new(int32(1)), MountOptions: []string{}}},
	}
	in.ContainerDefinitions[0].RestartPolicy = &ecs.ContainerRestartPolicy{Enabled: new(true), IgnoredExitCodes: []int32{1, 2}}
	in.ContainerDefinitions[0].Memory = new(int32(0))
	var d model.TaskDefinition
	convert(&d, in)
	var out ecs.RegisterTaskDefinitionInput
	convert(&out, &d)
	in.Tags = nil // kept otherwise
	in.ContainerDefinitions[0].Cpu = new(int32(0))
	if diff := cmp.Diff(in, &out); diff != "" {
		t.Error(diff)
	}
}
