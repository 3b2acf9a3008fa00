package ssm

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// maxLabels is how many labels a version may have.
const maxLabels = 10

var labelForm = regexp.MustCompile(`^[a-zA-Z_.\-][a-zA-Z0-9_.\-]*$`)

func validLabel(l string) bool {
	lower := strings.ToLower(l)
	return labelForm.MatchString(l) && !strings.HasPrefix(lower, "aws") && !strings.HasPrefix(lower, "ssm")
}

// labelsOf are the labels of a version.
func labelsOf(p *model.Parameter, version int64) []string {
	labels := []string{}
	for _, l := range slices.Sorted(maps.Keys(p.Labels)) {
		if p.Labels[l] == version {
			labels = append(labels, l)
		}
	}
	return labels
}

// LabelParameterVersion implements ssm.Handler.
func (s *Service) LabelParameterVersion(ctx context.Context, in *ssm.LabelParameterVersionInput) (*ssm.LabelParameterVersionOutput, error) {
	var out *ssm.LabelParameterVersionOutput
	_, err := s.update(ctx, refer(api.CallFrom(ctx), *in.Name), func(_ *store.Txn, _ store.Row[model.Parameter], p *model.Parameter) error {
		version := p.Latest.Version
		if in.ParameterVersion != nil {
			version = *in.ParameterVersion
		}
		if version < p.Oldest || version > p.Latest.Version {
			return noVersion(p.Name, strconv.FormatInt(version, 10))
		}
		out = &ssm.LabelParameterVersionOutput{ParameterVersion: &version, InvalidLabels: []string{}}
		if p.Labels == nil {
			p.Labels = map[string]int64{}
		}
		for _, l := range in.Labels {
			if !validLabel(l) {
				out.InvalidLabels = append(out.InvalidLabels, l)
				continue
			}
			p.Labels[l] = version
		}
		if len(labelsOf(p, version)) > maxLabels {
			return ssm.NewParameterVersionLabelLimitExceeded("A parameter version can have maximum %d labels. Move one or more labels to another version and try again.", maxLabels)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UnlabelParameterVersion implements ssm.Handler.
func (s *Service) UnlabelParameterVersion(ctx context.Context, in *ssm.UnlabelParameterVersionInput) (*ssm.UnlabelParameterVersionOutput, error) {
	var out *ssm.UnlabelParameterVersionOutput
	_, err := s.update(ctx, refer(api.CallFrom(ctx), *in.Name), func(_ *store.Txn, _ store.Row[model.Parameter], p *model.Parameter) error {
		version := *in.ParameterVersion
		if version < p.Oldest || version > p.Latest.Version {
			return noVersion(p.Name, strconv.FormatInt(version, 10))
		}
		out = &ssm.UnlabelParameterVersionOutput{RemovedLabels: []string{}, InvalidLabels: []string{}}
		for _, l := range in.Labels {
			if at, ok := p.Labels[l]; !ok || at != version {
				out.InvalidLabels = append(out.InvalidLabels, l)
				continue
			}
			delete(p.Labels, l)
			out.RemovedLabels = append(out.RemovedLabels, l)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
