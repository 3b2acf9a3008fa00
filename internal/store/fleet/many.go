package fleet

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
)

// Want is a kind of task that is to be placed together with others, and what
// came of it.
type Want struct {
	Request *placement.Request
	Tasks   []*model.Task
	// Placed is how many of the Tasks found an instance: the first ones.
	Placed int
	// Refused tells why there is none for more, as Choice's does.
	Refused []placement.Refusal
}

// Closest is Choice's, for the one kind.
func (w *Want) Closest() []placement.Refusal { return closest(w.Refused) }

// ChooseMany is Choose for several kinds of tasks at once, which are committed
// or dropped as one.
func (b *Book) ChooseMany(account, region, clusterName string, wants []*Want) *Choice {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ch := b.begin(place{account, region, clusterName})
	for _, w := range wants {
		w.Placed, w.Refused = 0, nil
		for _, t := range w.Tasks {
			id, ok := c.fleet.Place(w.Request, b.pick)
			if !ok {
				w.Refused = c.fleet.Explain(w.Request)
				ch.Refused = append(ch.Refused, w.Refused...)
				break
			}
			ch.keep(c, id, t)
			w.Placed++
		}
	}
	return ch
}
