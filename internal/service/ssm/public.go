package ssm

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
)

// publicRoot is where the parameters lie that AWS publishes for everybody.
const publicRoot = "/aws/service/"

// publics are the public parameters by region, made when a region is first
// asked for.
type publics struct{ regions sync.Map }

// region lists a region's public parameters by name, and finds them by it.
type publicRegion struct {
	sorted []machineimage.Parameter
	byName map[string]*machineimage.Parameter
}

func (p *publics) of(region string) *publicRegion {
	if r, ok := p.regions.Load(region); ok {
		return r.(*publicRegion)
	}
	r := &publicRegion{sorted: append(machineimage.Parameters(region), infrastructure()...), byName: map[string]*machineimage.Parameter{}}
	sortBy(r.sorted, func(p machineimage.Parameter) string { return p.Name })
	for i := range r.sorted {
		r.byName[r.sorted[i].Name] = &r.sorted[i]
	}
	got, _ := p.regions.LoadOrStore(region, r)
	return got.(*publicRegion)
}

// isPublic tells whether a reference leads to where the public parameters are:
// by name, or by an ARN without an account.
func (r reference) isPublic() bool { return strings.HasPrefix(r.name, publicRoot) }

func publicARN(region, name string) string {
	return model.MakeARN("ssm", region, "", "parameter"+name)
}

func publicParameter(region, selector string, p *machineimage.Parameter) *ssm.Parameter {
	out := &ssm.Parameter{
		ARN: new(publicARN(region, p.Name)), Name: &p.Name, Type: ssm.ParameterTypeString, Value: &p.Value,
		Version: &p.Version, DataType: &p.DataType, LastModifiedDate: &p.ModifiedAt,
	}
	if selector != "" {
		out.Selector = new(":" + selector)
	}
	return out
}

// public reads a public parameter.
func (s *Service) public(ctx context.Context, r reference) (*ssm.Parameter, error) {
	region := api.CallFrom(ctx).Region
	p, ok := s.publics.of(region).byName[r.name]
	switch {
	case !ok:
		return nil, errNotFound
	case r.selector != "" && r.selector != strconv.FormatInt(p.Version, 10):
		return nil, noVersion(r.name, r.selector)
	}
	return publicParameter(region, r.selector, p), nil
}

// publicByPath is GetParametersByPath below publicRoot.
func (s *Service) publicByPath(ctx context.Context, in *ssm.GetParametersByPathInput, list ...string) (*ssm.GetParametersByPathOutput, error) {
	region := api.CallFrom(ctx).Region
	var found []machineimage.Parameter
	for _, p := range s.publics.of(region).sorted {
		as := &model.Parameter{Name: p.Name, Latest: model.ParameterVersion{Type: model.ParameterString}}
		if under(p.Name, *in.Path, isTrue(in.Recursive)) && passes(as, in.ParameterFilters) {
			found = append(found, p)
		}
	}
	found, next, err := page(found, func(p machineimage.Parameter) string { return p.Name }, in.NextToken, in.MaxResults, pathPage, list...)
	if err != nil {
		return nil, err
	}
	out := &ssm.GetParametersByPathOutput{NextToken: next, Parameters: []ssm.Parameter{}}
	for _, p := range found {
		out.Parameters = append(out.Parameters, *publicParameter(region, "", &p))
	}
	return out, nil
}

// regionName is what /aws/service/global-infrastructure says of a region.
type regionName struct{ code, long, country, place string }

var regionNames = []regionName{
	{"ap-northeast-1", "Asia Pacific (Tokyo)", "JP", "JP-13"},
	{"ap-northeast-2", "Asia Pacific (Seoul)", "KR", "KR-11"},
	{"ap-northeast-3", "Asia Pacific (Osaka)", "JP", "JP-27"},
	{"ap-south-1", "Asia Pacific (Mumbai)", "IN", "IN-MH"},
	{"ap-southeast-1", "Asia Pacific (Singapore)", "SG", "SG"},
	{"ap-southeast-2", "Asia Pacific (Sydney)", "AU", "AU-NSW"},
	{"ca-central-1", "Canada (Central)", "CA", "CA-QC"},
	{"eu-central-1", "Europe (Frankfurt)", "DE", "DE-HE"},
	{"eu-north-1", "Europe (Stockholm)", "SE", "SE-AB"},
	{"eu-west-1", "Europe (Ireland)", "IE", "IE-D"},
	{"eu-west-2", "Europe (London)", "GB", "GB-LND"},
	{"eu-west-3", "Europe (Paris)", "FR", "FR-J"},
	{"sa-east-1", "South America (Sao Paulo)", "BR", "BR-SP"},
	{"us-east-1", "US East (N. Virginia)", "US", "US-VA"},
	{"us-east-2", "US East (Ohio)", "US", "US-OH"},
	{"us-west-1", "US West (N. California)", "US", "US-CA"},
	{"us-west-2", "US West (Oregon)", "US", "US-OR"},
}

// publishedServices are the services that are said to be in every region.
var publishedServices = []string{
	"ec2", "ecr", "ecs", "elb", "iam", "logs", "resourcegroupstaggingapi", "secretsmanager", "ssm", "sts",
}

// infrastructureDate is when the parameters of regions were last changed.
var infrastructureDate = time.Date(2025, time.January, 15, 0, 0, 0, 0, time.UTC)

// infrastructure lists regions, their zones and their services. It is the
// same in all regions.
func infrastructure() []machineimage.Parameter {
	const root = publicRoot + "global-infrastructure/"
	var out []machineimage.Parameter
	add := func(name, value string) {
		out = append(out, machineimage.Parameter{Name: root + name, Value: value, DataType: "text", Version: 1, ModifiedAt: infrastructureDate})
	}
	for _, svc := range publishedServices {
		add("services/"+svc, svc)
	}
	for _, r := range regionNames {
		region := "regions/" + r.code
		add(region, r.code)
		add(region+"/longName", r.long)
		add(region+"/geolocationCountry", r.country)
		add(region+"/geolocationRegion", r.place)
		add(region+"/domain", "amazonaws.com")
		add(region+"/partition", model.Partition(r.code))
		for _, z := range model.AvailabilityZones(r.code) {
			add("availability-zones/"+z.ID, z.ID)
			add(region+"/availability-zones/"+z.ID, z.ID)
		}
		for _, svc := range publishedServices {
			add(region+"/services/"+svc, svc)
			add("services/"+svc+"/regions/"+r.code, r.code)
		}
	}
	return out
}
