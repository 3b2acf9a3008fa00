package instances

import (
	"context"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// SpotNotice is how long before its end a Spot instance is told of it.
const SpotNotice = 2 * time.Minute

// Interrupt gives a Spot instance that runs the notice of its interruption, and
// tells when it ends. One that has been given notice keeps its time.
func Interrupt(ctx context.Context, s store.Store, at Place, now time.Time, id string) (ends time.Time, err error) {
	_, err = change(ctx, s, at, []string{id}, func(_ *store.Txn, v *model.Instance) error {
		switch {
		case v.Spec.Lifecycle != "spot":
			return invalid("The instance '" + id + "' is not a Spot instance.")
		case v.State() != model.InstanceRunning:
			return badState("The instance '%s' is not in a state from which it can be interrupted.", id)
		case !v.Desired.SpotInterruptionAt.IsZero():
			ends = v.Desired.SpotInterruptionAt
			return store.ErrUnchanged
		}
		ends = now.Add(SpotNotice)
		v.Desired.SpotInterruptionAt = ends
		return nil
	})
	return ends, err
}
