package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Settings are those of a registry, AWS's defaults where none were made.
func (c *Catalog) Settings(ctx context.Context, sp registry.Space) (store.Row[model.ECRRegistry], error) {
	row, err := tables.ECRRegistries.Get(ctx, c.Store, sp.Account, sp.Region, model.ECRRegistryID)
	if errors.Is(err, store.ErrNotFound) {
		row.V = &model.ECRRegistry{}
		return row, nil
	}
	return row, err
}

// Policy is what the policies of a registry and of a repository in it say
// together of actions on the repository.
func (c *Catalog) Policy(ctx context.Context, sp registry.Space, repository string) (string, error) {
	row, err := c.Settings(ctx, sp)
	if err != nil || row.V.Policy == "" || row.V.PolicyScope == "V1" {
		return repository, err
	}
	return JoinPolicies(repository, row.V.Policy)
}

// JoinPolicies is one policy with the statements of both; either may be empty.
func JoinPolicies(a, b string) (string, error) {
	if a == "" || b == "" {
		return a + b, nil
	}
	var statements []map[string]json.RawMessage
	for _, text := range []string{a, b} {
		var doc struct{ Statement json.RawMessage }
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			return "", fmt.Errorf("join policies: %w", err)
		}
		var list []map[string]json.RawMessage
		if json.Unmarshal(doc.Statement, &list) != nil { // a single one needs no list
			list = make([]map[string]json.RawMessage, 1)
			if err := json.Unmarshal(doc.Statement, &list[0]); err != nil {
				return "", fmt.Errorf("join policies: %w", err)
			}
		}
		for _, statement := range list {
			delete(statement, "Sid") // unique in each, not in both
			statements = append(statements, statement)
		}
	}
	out, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	return string(out), err
}

// ScansOnPush tells whether an image is scanned when it is pushed to a
// repository, and by which filters of the registry's, if it has any.
func ScansOnPush(settings *model.ECRRegistry, repo *model.ECRRepository) (scans bool, filters []string) {
	if len(settings.ScanRules) == 0 {
		return repo.ScanOnPush, nil
	}
	for _, r := range settings.ScanRules {
		for _, f := range r.Filters {
			if r.Frequency == "SCAN_ON_PUSH" && matchesName(f, repo.Name) {
				filters = append(filters, f)
			}
		}
	}
	return len(filters) > 0, filters
}

// matchesName matches a repository's name with a filter in which * stands for
// any characters, slashes too.
func matchesName(filter, name string) bool {
	parts := strings.Split(filter, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(name)
}

// UnderPrefix tells whether a prefix of namespaces, or ROOT, covers a name, and
// what follows it.
func UnderPrefix(prefix, name string) (rest string, ok bool) {
	if prefix == model.ECRRoot {
		return name, true
	}
	return strings.CutPrefix(name, strings.TrimSuffix(prefix, "/")+"/")
}

// Template is the creation template that is for a repository that is to be
// made for a reason: the one with the longest prefix. It is nil when there is
// none.
func (c *Catalog) Template(ctx context.Context, sp registry.Space, name, reason string) (*model.ECRCreationTemplate, error) {
	rows, err := tables.ECRCreationTemplates.List(ctx, c.Store, store.Query{Account: sp.Account, Region: sp.Region})
	if err != nil {
		return nil, err
	}
	var best *model.ECRCreationTemplate
	length := func(prefix string) int {
		if prefix == model.ECRRoot {
			return 0
		}
		return len(prefix)
	}
	for _, r := range rows {
		_, covers := UnderPrefix(r.V.Prefix, name)
		if covers && slices.Contains(r.V.AppliedFor, reason) && (best == nil || length(r.V.Prefix) > length(best.Prefix)) {
			best = r.V
		}
	}
	return best, nil
}

// Provide makes the repository if it does not exist, by the template that is
// for the reason. It is no error when another has made it meanwhile.
func (c *Catalog) Provide(ctx context.Context, sp registry.Space, name, reason string) error {
	if _, err := c.Row(ctx, sp, name); registry.CodeOf(err) != registry.NameUnknown {
		return err
	}
	t, err := c.Template(ctx, sp, name, reason)
	if err != nil {
		return err
	}
	repo := &model.ECRRepository{Name: name, CreatedAt: c.now(), TagMutability: "MUTABLE", EncryptionType: "AES256"}
	if t != nil {
		repo.TagMutability, repo.MutabilityExclusions, repo.EncryptionType = t.TagMutability, t.MutabilityExclusions, t.EncryptionType
		repo.Policy, repo.LifecyclePolicy, repo.Tags = t.RepositoryPolicy, t.LifecyclePolicy, t.Tags
	}
	// What a deletion that was cut short has left must not come back.
	if err := c.Purge(ctx, sp, name); err != nil {
		return fmt.Errorf("purge %s: %w", name, err)
	}
	tx := store.NewTxn()
	tables.ECRRepositories.Create(tx, sp.Account, sp.Region, name, repo)
	if _, err := tx.Commit(ctx, c.Store); err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return nil
}

// Replications tell which registries have a copy of an image, by the image's
// record id.
func (c *Catalog) Replications(ctx context.Context, sp registry.Space, imageID string) ([]model.ECRReplicationStatus, error) {
	row, err := tables.ECRReplications.Get(ctx, c.Store, sp.Account, sp.Region, imageID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return row.V.Destinations, nil
}
