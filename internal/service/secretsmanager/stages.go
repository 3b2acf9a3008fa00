package secretsmanager

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"roadstead.dev/internal/model"
)

const (
	// maxStages is how many staging labels a version may have.
	maxStages = 20
	// maxVersions is how many versions are kept before deprecated ones go, and
	// minAge the age before which none does.
	maxVersions = 100
	minAge      = 24 * time.Hour
)

// attach moves a staging label to a version. Where AWSCURRENT leaves a
// version, AWSPREVIOUS comes.
func attach(versions map[string]model.SecretVersion, id, stage string) {
	from := detach(versions, stage)
	if stage == model.StageCurrent && from != "" && from != id {
		detach(versions, model.StagePrevious)
		label(versions, from, model.StagePrevious)
	}
	label(versions, id, stage)
}

// detach takes a staging label away and tells from which version, "" when it
// was nowhere.
func detach(versions map[string]model.SecretVersion, stage string) string {
	for id, v := range versions {
		if slices.Contains(v.Stages, stage) {
			v.Stages = slices.DeleteFunc(slices.Clone(v.Stages), func(s string) bool { return s == stage })
			versions[id] = v
			return id
		}
	}
	return ""
}

func label(versions map[string]model.SecretVersion, id, stage string) {
	v := versions[id]
	v.Stages = append(slices.Clone(v.Stages), stage)
	versions[id] = v
}

// counts are the numbers of labels of the versions.
func counts(versions map[string]model.SecretVersion) []int {
	var n []int
	for _, v := range versions {
		n = append(n, len(v.Stages))
	}
	return n
}

// moveStage is UpdateSecretVersionStage: it takes a label from one version,
// gives it to another, or both. A label is never taken from a version that
// the request does not name.
func moveStage(v *model.Secret, stage, from, to string) error {
	holder := v.Staged(stage)
	for _, id := range []string{from, to} {
		if _, ok := v.Versions[id]; id != "" && !ok {
			return invalid("Not a valid version: %s", id)
		}
	}
	switch {
	case from == "" && to == "":
		return invalid("You must specify RemoveFromVersionId, MoveToVersionId, or both.")
	case from != "" && holder != from:
		return invalid("Version stage %s not found in version %s", stage, from)
	case from == "" && holder != "" && holder != to:
		return invalid("The parameter RemoveFromVersionId can't be empty. Staging label %s is currently attached to version %s, so you must explicitly reference that version in RemoveFromVersionId.", stage, holder)
	case to == "" && stage == model.StageCurrent:
		return invalid("You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
	case to == "":
		detach(v.Versions, stage)
		return nil
	}
	attach(v.Versions, to, stage)
	if len(v.Versions[to].Stages) > maxStages {
		return invalid("You can attach up to %d staging labels to a version.", maxStages)
	}
	return nil
}

// outdated are the versions that make room for one more: deprecated ones, the
// oldest first, none of them younger than a day.
func outdated(versions map[string]model.SecretVersion, at time.Time) []string {
	excess := len(versions) + 1 - maxVersions
	if excess <= 0 {
		return nil
	}
	ids := slices.DeleteFunc(slices.Collect(maps.Keys(versions)), func(id string) bool {
		v := versions[id]
		return len(v.Stages) > 0 || at.Sub(v.CreatedAt) < minAge
	})
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(versions[a].CreatedAt.Compare(versions[b].CreatedAt), cmp.Compare(a, b))
	})
	return ids[:min(excess, len(ids))]
}
