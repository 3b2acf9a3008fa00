package instances

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Place is the account and region that a launch is for.
type Place struct{ Account, Region string }

// Resolve turns launch data into what Launch wants: it finds what the data
// name and fills in EC2's defaults. Refusals are *Error.
func Resolve(ctx context.Context, s store.Store, at Place, data model.LaunchData) (Spec, error) {
	r := resolver{ctx: ctx, s: s, Place: at, data: &data}
	r.out = Spec{Place: at, Min: 1, Max: 1}
	if err := check(&data); err != nil {
		return Spec{}, err
	}
	for _, step := range []func() error{r.image, r.instanceType, r.volume, r.login, r.profile, r.network, r.options, r.tags} {
		if err := step(); err != nil {
			return Spec{}, err
		}
	}
	return r.out, nil
}

type resolver struct {
	Place
	ctx  context.Context //nolint:containedctx // lives for one call
	s    store.Store
	data *model.LaunchData
	out  Spec

	machine machineimage.Image
	size    instancetype.Type
}

// ImageID is the id of the image that launch data name, by a parameter too.
func ImageID(ctx context.Context, s store.Store, at Place, image string) (string, error) {
	name, ok := strings.CutPrefix(image, "resolve:ssm:")
	if !ok {
		return image, nil
	}
	r := resolver{ctx: ctx, s: s, Place: at}
	return r.parameter(name)
}

func (r *resolver) image() error {
	if r.data.ImageID == "" {
		return refuse("MissingParameter", "The request must contain the parameter ImageId")
	}
	iid, err := ImageID(r.ctx, r.s, r.Place, r.data.ImageID)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(iid, "ami-") {
		return refuse("InvalidAMIID.Malformed", fmt.Sprintf("Invalid id: %q (expecting \"ami-...\")", iid))
	}
	var ok bool
	if r.machine, ok = machineimage.Find(r.Region, iid); !ok {
		return refuse("InvalidAMIID.NotFound", "The image id '["+iid+"]' does not exist")
	}
	r.out.Template.ImageID, r.out.Template.Architecture = iid, r.machine.Architecture
	return nil
}

// parameter is the value of a parameter of Systems Manager, AWS's public ones
// or the account's, by "name", "name:version" or "name:label".
func (r *resolver) parameter(selector string) (string, error) {
	name, version, selected := strings.Cut(selector, ":")
	no := invalid("Unable to resolve parameter \"" + selector + "\" to an AMI ID.")
	if strings.HasPrefix(name, "/aws/") {
		for _, p := range machineimage.Parameters(r.Region) {
			if p.Name == name && (!selected || version == strconv.FormatInt(p.Version, 10)) {
				return p.Value, nil
			}
		}
		return "", no
	}
	row, err := tables.Parameters.Get(r.ctx, r.s, r.Account, r.Region, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", no
	}
	if err != nil {
		return "", err
	}
	v := row.V.Latest
	if selected {
		n, labelled := row.V.Labels[version]
		if !labelled {
			if n, err = strconv.ParseInt(version, 10, 64); err != nil {
				return "", no
			}
		}
		old, err := tables.ParameterVersions.Get(r.ctx, r.s, r.Account, r.Region, model.ParameterVersionID(name, n))
		if errors.Is(err, store.ErrNotFound) {
			return "", no
		}
		if err != nil {
			return "", err
		}
		v = *old.V
	}
	if v.Type != "String" {
		return "", no
	}
	return v.Value, nil
}

// defaultType is EC2's, for a request that names none.
const defaultType = "m1.small"

func (r *resolver) instanceType() error {
	name := r.data.InstanceType
	if name == "" {
		name = defaultType
	}
	var ok bool
	if r.size, ok = instancetype.Find(name); !ok {
		return invalid("Invalid value '" + name + "' for InstanceType.")
	}
	if err := fits(&r.size, r.machine.Architecture); err != nil {
		return err
	}
	optimized := r.data.EBSOptimized != nil && *r.data.EBSOptimized
	if optimized && r.size.EBS == nil {
		return refuse("InvalidParameterCombination", "EBS-optimized instances are not supported for your requested configuration.")
	}
	if r.data.CreditSpecification != nil && !r.size.Burstable {
		return refuse("InvalidParameterCombination", "The specified instance type "+name+" does not support a credit specification.")
	}
	r.out.Template.Type, r.out.Template.EBSOptimized = name, optimized
	return nil
}

// fits refuses a type that does not run an image's architecture.
func fits(t *instancetype.Type, architecture string) error {
	if slices.Contains(t.Architectures, architecture) {
		return nil
	}
	return invalid(fmt.Sprintf("The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. "+
		"Specify an instance type and an AMI that have matching architectures, and try again. "+
		"You can use 'describe-instance-types' or 'describe-images' to discover the architecture of the instance type or AMI.",
		strings.Join(t.Architectures, ","), architecture))
}

func (r *resolver) login() error {
	t := &r.out.Template
	if name := r.data.KeyName; name != "" {
		_, err := tables.KeyPairNames.Get(r.ctx, r.s, r.Account, r.Region, name)
		if errors.Is(err, store.ErrNotFound) {
			return refuse("InvalidKeyPair.NotFound", "The key pair '"+name+"' does not exist")
		}
		if err != nil {
			return err
		}
		t.KeyName = name
	}
	var err error
	if t.UserData, err = userData(r.data.UserData); err != nil {
		return err
	}
	if len(t.UserData) == 0 {
		t.UserData = nil
	}
	return nil
}

func (r *resolver) profile() error {
	p := r.data.IAMInstanceProfile
	if p == nil {
		return nil
	}
	var err error
	r.out.Template.ProfileARN, r.out.RoleARN, err = FindProfile(r.ctx, r.s, r.Account, p.ARN, p.Name)
	return err
}

// FindProfile is an instance profile by its ARN or its name, and the ARN of
// its role, which whoever starts instances must be allowed to pass on.
func FindProfile(ctx context.Context, s store.Store, account, arn, name string) (profileARN, roleARN string, err error) {
	no := invalid("Value (" + name + ") for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name")
	id := name
	if arn != "" {
		no = invalid("Value (" + arn + ") for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN")
		if name != "" {
			return "", "", refuse("InvalidParameterCombination", "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'")
		}
		id = arn[strings.LastIndexByte(arn, '/')+1:]
	}
	row, err := tables.InstanceProfiles.Get(ctx, s, account, "", strings.ToLower(id))
	if errors.Is(err, store.ErrNotFound) || err == nil && (arn != "" && row.V.ARN != arn || arn == "" && row.V.Name != name) {
		return "", "", no
	}
	if err != nil {
		return "", "", err
	}
	role, err := tables.Roles.Get(ctx, s, account, "", row.V.Role)
	if row.V.Role == "" || errors.Is(err, store.ErrNotFound) {
		return "", "", invalid("IAM Instance Profile \"" + row.V.ARN + "\" has no associated IAM Roles")
	}
	if err != nil {
		return "", "", err
	}
	return row.V.ARN, role.V.ARN, nil
}

func (r *resolver) options() error {
	d, t := r.data, &r.out.Template
	on := func(v *bool) bool { return v != nil && *v }
	t.DisableAPITermination, t.DisableAPIStop = on(d.DisableAPITermination), on(d.DisableAPIStop)
	t.Monitoring = d.Monitoring != nil && on(d.Monitoring.Enabled)
	if t.ShutdownBehavior = d.InstanceInitiatedShutdownBehavior; t.ShutdownBehavior == "" {
		t.ShutdownBehavior = "stop"
	}
	if m := d.InstanceMarketOptions; m != nil && m.MarketType == "spot" {
		t.Lifecycle = "spot"
		if m.SpotOptions != nil {
			t.SpotMaxPrice = m.SpotOptions.MaxPrice
			if f, err := strconv.ParseFloat(t.SpotMaxPrice, 64); t.SpotMaxPrice != "" && (err != nil || !(f > 0)) {
				return invalid("Invalid value '" + t.SpotMaxPrice + "' for spotPrice.")
			}
		}
		if t.DisableAPITermination || t.DisableAPIStop {
			return refuse("InvalidParameterCombination", "The 'disableApiTermination' and 'disableApiStop' attributes are not supported for spot instances.")
		}
	}
	defaults, err := tables.InstanceMetadataDefaults.Get(r.ctx, r.s, r.Account, r.Region, "defaults")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	// The image's, over which the account's go, and the request's.
	m := model.InstanceMetadataOptions{Endpoint: "enabled", Tokens: "optional", Tags: "disabled", HopLimit: 1}
	if r.machine.IMDSv2 {
		m.Tokens, m.HopLimit = "required", 2
	}
	if err == nil {
		o := defaults.V.Options
		set(&m.Endpoint, o.Endpoint)
		set(&m.Tokens, o.Tokens)
		set(&m.Tags, o.Tags)
		set(&m.HopLimit, o.HopLimit)
	}
	if o := d.MetadataOptions; o != nil {
		SetMetadata(&m, o)
	}
	t.Metadata = m
	return nil
}

// set overwrites with what is given.
func set[T comparable](p *T, v T) {
	var zero T
	if v != zero {
		*p = v
	}
}

// SetMetadata changes options to those that are given.
func SetMetadata(m *model.InstanceMetadataOptions, o *model.LaunchMetadataOptions) {
	set(&m.Endpoint, o.HTTPEndpoint)
	set(&m.Tokens, o.HTTPTokens)
	set(&m.Tags, o.InstanceMetadataTags)
	if o.HTTPPutResponseHopLimit != nil {
		m.HopLimit = int(*o.HTTPPutResponseHopLimit)
	}
}

// CheckMetadata refuses options that are not EC2's or would not act.
func CheckMetadata(o *model.LaunchMetadataOptions) error { return checkMetadata(o) }

func (r *resolver) tags() error {
	var err1, err2, err3 error
	r.out.Tags, err1 = tagsOf(r.data.TagSpecifications, tagInstance)
	r.out.Template.RootVolume.Tags, err2 = tagsOf(r.data.TagSpecifications, tagVolume)
	r.out.InterfaceTags, err3 = tagsOf(r.data.TagSpecifications, tagInterface)
	return errors.Join(err1, err2, err3)
}

// volume describes the root volume: the image's, as far as the request does
// not say otherwise.
func (r *resolver) volume() error {
	v := &r.out.Template.RootVolume
	*v = model.InstanceRoot{SnapshotID: r.machine.SnapshotID, Size: r.machine.VolumeSize, Type: r.machine.VolumeType}
	var e model.LaunchEBS
	for i, b := range r.data.BlockDeviceMappings {
		if i > 0 {
			return refuse("InvalidBlockDeviceMapping", "Duplicate device name '"+b.DeviceName+"'")
		}
		if b.EBS != nil {
			e = *b.EBS
		}
	}
	set(&v.Type, e.VolumeType)
	if e.SnapshotID != "" && e.SnapshotID != v.SnapshotID {
		return refuse("InvalidBlockDeviceMapping", "snapshotId cannot be modified on root device")
	}
	if e.VolumeSize != nil {
		switch {
		case *e.VolumeSize < v.Size:
			return refuse("InvalidBlockDeviceMapping", fmt.Sprintf("Volume of size %dGB is smaller than snapshot '%s', expect size>= %dGB", *e.VolumeSize, v.SnapshotID, v.Size))
		case *e.VolumeSize > maxVolume:
			return invalid(fmt.Sprintf("Volume of size %dGiB is too large; the maximum is %d.", *e.VolumeSize, maxVolume))
		}
		v.Size = *e.VolumeSize
	}
	return speed(v, e.IOPS, e.Throughput)
}

const maxVolume = 16384 // GiB

// speed sets how fast a volume is said to be.
func speed(v *model.InstanceRoot, iops, throughput *int32) error {
	const least, most = 100, 64000
	switch v.Type {
	case "gp2", "standard":
		if iops != nil {
			return refuse("InvalidParameterCombination", "The parameter iops is not supported for "+v.Type+" volumes.")
		}
		if v.Type == "gp2" {
			v.IOPS = min(max(least, 3*v.Size), 16000)
		}
	case "gp3":
		v.IOPS, v.Throughput = 3000, 125
	case "io1", "io2":
		if iops == nil {
			return refuse("MissingParameter", "The parameter iops must be specified for "+v.Type+" volumes.")
		}
	default:
		return refuse("InvalidParameterValue", "Value ("+v.Type+") for parameter volumeType is invalid for a root volume.")
	}
	if iops != nil {
		if *iops < least || *iops > most || v.Type == "gp3" && (*iops < 3000 || *iops > 16000) {
			return invalid(fmt.Sprintf("Volume iops of %d is out of range.", *iops))
		}
		v.IOPS = *iops
	}
	if throughput != nil {
		if v.Type != "gp3" {
			return refuse("InvalidParameterCombination", "The parameter throughput is not supported for "+v.Type+" volumes.")
		}
		if *throughput < 125 || *throughput > 1000 {
			return invalid(fmt.Sprintf("Throughput value of %d is out of range.", *throughput))
		}
		v.Throughput = *throughput
	}
	return nil
}

func parseAddr(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return a, invalid("Value (" + text + ") for parameter privateIpAddress is invalid. Invalid IPv4 address.")
	}
	return a, nil
}
