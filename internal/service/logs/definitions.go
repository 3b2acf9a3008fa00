package logs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
	"roadstead.dev/internal/telemetry/insights"
)

// maxDefinitions is how many queries may be saved.
const maxDefinitions = 1000

var errNoDefinition = logs.NewResourceNotFoundException("The specified query definition does not exist.")

// PutQueryDefinition saves a query, or changes one that was saved.
func (s *Service) PutQueryDefinition(ctx context.Context, in *logs.PutQueryDefinitionInput) (*logs.PutQueryDefinitionOutput, error) {
	c := api.CallFrom(ctx)
	if in.QueryLanguage != "" && in.QueryLanguage != logs.QueryLanguageCwli {
		return nil, invalid("The query language %s is not supported.", in.QueryLanguage)
	}
	if len(in.Parameters) > 0 {
		return nil, invalid("Parameters of query definitions are not supported.")
	}
	if _, err := insights.Parse(*in.QueryString); err != nil {
		return nil, invalid("The query is malformed: %v", err)
	}
	change := func(d *model.LogQueryDefinition) error {
		d.Name, d.Query, d.LogGroupNames, d.Modified = *in.Name, *in.QueryString, in.LogGroupNames, c.Time
		return nil
	}
	if in.QueryDefinitionId != nil {
		_, err := tables.LogQueryDefinitions.Update(ctx, s.store, c.Account, c.Region, *in.QueryDefinitionId, change)
		if errors.Is(err, store.ErrNotFound) {
			return nil, errNoDefinition
		}
		return &logs.PutQueryDefinitionOutput{QueryDefinitionId: in.QueryDefinitionId}, err
	}
	all, err := tables.LogQueryDefinitions.List(ctx, s.store, store.Query{Account: c.Account, Region: c.Region})
	if err != nil {
		return nil, err
	}
	if token := value(in.ClientToken); token != "" {
		if i := slices.IndexFunc(all, func(r store.Row[model.LogQueryDefinition]) bool { return r.V.ClientToken == token }); i >= 0 {
			return &logs.PutQueryDefinitionOutput{QueryDefinitionId: &all[i].V.ID}, nil
		}
	}
	if len(all) >= maxDefinitions {
		return nil, logs.NewLimitExceededException("The maximum number of query definitions is %d.", maxDefinitions)
	}
	d := &model.LogQueryDefinition{ID: id.UUID(), ClientToken: value(in.ClientToken)}
	if err := change(d); err != nil {
		return nil, err
	}
	tx := store.NewTxn()
	tables.LogQueryDefinitions.Create(tx, c.Account, c.Region, d.ID, d)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, err
	}
	return &logs.PutQueryDefinitionOutput{QueryDefinitionId: &d.ID}, nil
}

// DescribeQueryDefinitions lists saved queries by name.
func (s *Service) DescribeQueryDefinitions(ctx context.Context, in *logs.DescribeQueryDefinitionsInput) (*logs.DescribeQueryDefinitionsOutput, error) {
	c := api.CallFrom(ctx)
	prefix := value(in.QueryDefinitionNamePrefix)
	tokens := pagesOf(ctx, "DescribeQueryDefinitions", prefix, in.QueryLanguage)
	after, err := tokens.position(in.NextToken)
	if err != nil {
		return nil, err
	}
	all, err := tables.LogQueryDefinitions.List(ctx, s.store, store.Query{Account: c.Account, Region: c.Region})
	if err != nil {
		return nil, err
	}
	position := func(r store.Row[model.LogQueryDefinition]) string { return r.V.Name + "\x00" + r.V.ID }
	all = slices.DeleteFunc(all, func(r store.Row[model.LogQueryDefinition]) bool {
		return !strings.HasPrefix(r.V.Name, prefix) || position(r) <= after || in.QueryLanguage != "" && in.QueryLanguage != logs.QueryLanguageCwli
	})
	slices.SortFunc(all, func(a, b store.Row[model.LogQueryDefinition]) int { return strings.Compare(position(a), position(b)) })
	out := &logs.DescribeQueryDefinitionsOutput{QueryDefinitions: []logs.QueryDefinition{}}
	limit := int(value(in.MaxResults))
	if limit == 0 {
		limit = maxDefinitions
	}
	for i, r := range all {
		if i == limit {
			out.NextToken = new(tokens.token(position(all[i-1])))
			break
		}
		out.QueryDefinitions = append(out.QueryDefinitions, logs.QueryDefinition{
			QueryDefinitionId: &r.V.ID, Name: &r.V.Name, QueryString: &r.V.Query, LogGroupNames: r.V.LogGroupNames,
			LastModified: new(r.V.Modified.UnixMilli()), QueryLanguage: logs.QueryLanguageCwli,
		})
	}
	return out, nil
}

// DeleteQueryDefinition forgets a saved query.
func (s *Service) DeleteQueryDefinition(ctx context.Context, in *logs.DeleteQueryDefinitionInput) (*logs.DeleteQueryDefinitionOutput, error) {
	c := api.CallFrom(ctx)
	row, err := tables.LogQueryDefinitions.Get(ctx, s.store, c.Account, c.Region, *in.QueryDefinitionId)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNoDefinition
	}
	if err != nil {
		return nil, err
	}
	tx := store.NewTxn()
	tables.LogQueryDefinitions.Delete(tx, row)
	if _, err := tx.Commit(ctx, s.store); err != nil && !errors.Is(err, store.ErrConflict) {
		return nil, err
	}
	return &logs.DeleteQueryDefinitionOutput{Success: new(true)}, nil
}
