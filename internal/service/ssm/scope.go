package ssm

import (
	"context"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
)

// ScopeOf implements api.ResourceScoper: operations act on the parameters that
// they name, and GetParametersByPath on the path.
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	c := api.CallFrom(ctx)
	keys := map[string]string{}
	var names []string
	var tags []ssm.Tag
	switch in := in.(type) {
	case *ssm.PutParameterInput:
		names, tags = []string{*in.Name}, in.Tags
		keys["ssm:Overwrite"] = strconv.FormatBool(isTrue(in.Overwrite))
	case *ssm.GetParameterInput:
		names = []string{*in.Name}
	case *ssm.GetParametersInput:
		names = in.Names
	case *ssm.GetParametersByPathInput:
		names = []string{*in.Path}
		keys["ssm:Recursive"] = strconv.FormatBool(isTrue(in.Recursive))
	case *ssm.GetParameterHistoryInput:
		names = []string{*in.Name}
	case *ssm.DeleteParameterInput:
		names = []string{*in.Name}
	case *ssm.DeleteParametersInput:
		names = in.Names
	case *ssm.LabelParameterVersionInput:
		names = []string{*in.Name}
	case *ssm.UnlabelParameterVersionInput:
		names = []string{*in.Name}
	case *ssm.AddTagsToResourceInput:
		names, tags = []string{*in.ResourceId}, in.Tags
	case *ssm.RemoveTagsFromResourceInput:
		names = []string{*in.ResourceId}
		keys["aws:TagKeys"] = strings.Join(in.TagKeys, ",")
	case *ssm.ListTagsForResourceInput:
		names = []string{*in.ResourceId}
	case *ssm.DescribeParametersInput:
		return []string{model.MakeARN("ssm", c.Region, c.Account, "*")}, nil
	default:
		return nil, nil
	}
	for _, t := range tags {
		keys["aws:RequestTag/"+str(t.Key)] = str(t.Value)
	}
	var arns []string
	for _, name := range names {
		r := refer(c, name)
		if r.foreign {
			arns = append(arns, name)
			continue
		}
		if r.isPublic() {
			arns = append(arns, publicARN(c.Region, r.name))
			continue
		}
		arns = append(arns, model.ParameterARN(c.Region, c.Account, r.name))
		// The keys of one resource: where several are named, their tags are not
		// asked for.
		if row, err := s.find(ctx, r); err == nil && len(names) == 1 {
			for k, v := range row.V.Tags {
				keys["aws:ResourceTag/"+k] = v
				keys["ssm:resourceTag/"+k] = v
			}
		}
	}
	return arns, keys
}
