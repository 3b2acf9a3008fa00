package autoscaling

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

type activityRow = store.Row[model.ScalingActivity]

// activities are a group's, the newest first.
func (s *Service) activities(ctx context.Context, c *api.Call, group string) ([]activityRow, error) {
	return under(ctx, s.Store, c, tables.ScalingActivities, group, func(v *model.ScalingActivity) string { return v.Group })
}

// inProgress are the activities of a group that have not ended.
func (s *Service) inProgress(ctx context.Context, c *api.Call, group string) ([]*model.ScalingActivity, error) {
	rows, err := s.activities(ctx, c, group)
	var out []*model.ScalingActivity
	for _, r := range rows {
		if r.V.EndedAt.IsZero() {
			out = append(out, r.V)
		}
	}
	return out, err
}

// begin adds to tx that an activity begins, which the controller will end.
func begin(c *api.Call, tx *store.Txn, g *model.AutoScalingGroup, in *model.Instance, m *model.ASGInstance, a model.ScalingActivity) *model.ScalingActivity {
	a.ID, a.Group, a.GroupARN, a.InstanceID, a.StartedAt = id.Newest(c.Time), g.Name, g.ARN, m.InstanceID, c.Time
	a.StatusCode = cmp.Or(a.StatusCode, string(autoscaling.ScalingActivityStatusCodeInProgress))
	a.Details = details(in, m)
	m.Activity = a.ID
	tables.ScalingActivities.Create(tx, c.Account, c.Region, g.Name+"/"+a.ID, &a)
	return &a
}

// details tells where the instance of an activity is, in JSON.
func details(in *model.Instance, m *model.ASGInstance) string {
	where := struct {
		Subnet string `json:"Subnet ID,omitempty"`
		Zone   string `json:"Availability Zone"`
	}{Zone: m.Zone}
	if in != nil {
		where.Subnet = in.Spec.SubnetID
	}
	b, err := json.Marshal(where)
	if err != nil {
		return ""
	}
	return string(b)
}

func activityOut(a *model.ScalingActivity) autoscaling.Activity {
	out := autoscaling.Activity{
		ActivityId: &a.ID, AutoScalingGroupName: &a.Group, AutoScalingGroupARN: text(a.GroupARN), Description: text(a.Description), Cause: &a.Cause,
		StartTime: &a.StartedAt, StatusCode: autoscaling.ScalingActivityStatusCode(a.StatusCode), StatusMessage: text(a.StatusMessage),
		Progress: number(a.Progress), Details: text(a.Details),
	}
	if !a.EndedAt.IsZero() {
		out.EndTime = &a.EndedAt
	}
	return out
}

// DescribeScalingActivities tells what groups did in the last six weeks.
func (s *Service) DescribeScalingActivities(ctx context.Context, in *autoscaling.DescribeScalingActivitiesInput) (*autoscaling.DescribeScalingActivitiesOutput, error) {
	c := api.CallFrom(ctx)
	match, err := activityFilters(in.Filters)
	if err != nil {
		return nil, err
	}
	rows, err := s.activitiesOf(ctx, c, in.AutoScalingGroupName, value(in.IncludeDeletedGroups))
	if err != nil {
		return nil, err
	}
	groups, err := tables.AutoScalingGroups.List(ctx, s.Store, everything(c))
	if err != nil {
		return nil, err
	}
	live := map[string]bool{}
	for _, g := range groups {
		live[g.V.ARN] = true
	}
	rows = slices.DeleteFunc(rows, func(r activityRow) bool {
		return !live[r.V.GroupARN] && !value(in.IncludeDeletedGroups) || len(in.ActivityIds) > 0 && !slices.Contains(in.ActivityIds, r.V.ID) || !match(r.V)
	})
	list := *in
	list.MaxRecords, list.NextToken = nil, nil
	rows, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, 100, 100, "DescribeScalingActivities", list}, rows, func(r activityRow) string { return r.V.ID })
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeScalingActivitiesOutput{Activities: []autoscaling.Activity{}, NextToken: next}
	for _, r := range rows {
		a := activityOut(r.V)
		if !live[r.V.GroupARN] {
			a.AutoScalingGroupState = new("Deleted")
		}
		out.Activities = append(out.Activities, a)
	}
	return out, nil
}

// activitiesOf are those of a group, or of all, the newest first.
func (s *Service) activitiesOf(ctx context.Context, c *api.Call, group *string, deleted bool) ([]activityRow, error) {
	if group == nil {
		rows, err := tables.ScalingActivities.List(ctx, s.Store, everything(c))
		slices.SortFunc(rows, func(a, b activityRow) int { return cmp.Compare(a.V.ID, b.V.ID) })
		return rows, err
	}
	if !deleted {
		if _, err := s.group(ctx, *group); err != nil {
			return nil, err
		}
	}
	return s.activities(ctx, c, *group)
}

// activityFilters are those of DescribeScalingActivities.
func activityFilters(filters []autoscaling.Filter) (func(*model.ScalingActivity) bool, error) {
	var checks []func(*model.ScalingActivity) bool
	for _, f := range filters {
		name := value(f.Name)
		switch name {
		case "Status":
			checks = append(checks, func(a *model.ScalingActivity) bool { return slices.Contains(f.Values, a.StatusCode) })
		case "StartTimeLowerBound", "StartTimeUpperBound":
			if len(f.Values) != 1 {
				return nil, invalid("The filter %s takes one value.", name)
			}
			at, err := time.Parse(time.RFC3339, f.Values[0])
			if err != nil {
				return nil, invalid("The value '%s' of the filter %s is not a valid time.", f.Values[0], name)
			}
			checks = append(checks, func(a *model.ScalingActivity) bool {
				if name == "StartTimeLowerBound" {
					return !a.StartedAt.Before(at)
				}
				return !a.StartedAt.After(at)
			})
		default:
			return nil, invalid("Filter type %s is not correct. Allowed Filter types are: StartTimeLowerBound, StartTimeUpperBound, Status", name)
		}
	}
	return func(a *model.ScalingActivity) bool {
		for _, check := range checks {
			if !check(a) {
				return false
			}
		}
		return true
	}, nil
}
