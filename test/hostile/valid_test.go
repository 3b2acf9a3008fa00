package hostile

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/api"
)

// Input that fits the model, and mostly makes no sense, reaches the handlers.
// They refuse it, or do what it says; none of them fails. What answers hold is
// used in later requests, so that these get beyond "there is no such thing".
func TestWellFormedAndOdd(t *testing.T) {
	n := 6
	if *exhaustive {
		n = 150
	}
	if *rounds > 0 {
		n = *rounds
	}
	t.Logf("-seed=%d", *seed)
	things := new(pool)
	furnish(t.Context(), t, rand.New(rand.NewPCG(*seed, 99)), things)
	g := new(errgroup.Group)
	failures := &failures{}
	for worker := range uint64(4) {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(*seed, worker))
			for range n {
				for _, svc := range services {
					for _, i := range r.Perm(len(svc.Operations)) {
						m := &maker{r: r, odd: pick(r, 0, 10, 50), members: pick(r, 0, 20, 60), pool: things}
						op := &svc.Operations[i]
						if err := random(t.Context(), m, op, things); err != nil {
							failures.add(t, err)
						}
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func random(ctx context.Context, m *maker, op *api.Operation, things *pool) error {
	in, ok := map[string]any(nil), false
	if m.chance(70) {
		in, ok = m.vary(op)
	}
	if !ok {
		in = m.input(op)
	}
	_, err := exchange(ctx, m, op, in, things)
	return err
}

// exchange sends an input and keeps what the answer holds.
func exchange(ctx context.Context, m *maker, op *api.Operation, in map[string]any, things *pool) (*answer, error) {
	b := body(op, in)
	req := request(ctx, op, b)
	sign(req, op.Service(), b)
	a, err := send(op.Service().Name+"."+op.Name+" "+cut(string(b)), op, req)
	if err != nil || a.status >= 300 {
		return a, err
	}
	if op.Service().Protocol == api.JSON {
		var v any
		if json.Unmarshal(a.body, &v) == nil {
			things.harvest(m.r, "", v)
		}
		return a, nil
	}
	d := xml.NewDecoder(strings.NewReader(string(a.body)))
	var names []string
	for {
		tok, err := d.Token()
		if err != nil {
			return a, nil //nolint:nilerr // the answer was checked before
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			names = append(names, tok.Name.Local)
		case xml.EndElement:
			names = names[:len(names)-1]
		case xml.CharData:
			if len(names) == 0 {
				continue
			}
			name := names[len(names)-1]
			if name == "member" || name == "item" {
				name = strings.TrimSuffix(names[len(names)-2], "s")
			}
			things.put(m.r, name, string(tok))
		}
	}
}

// failures reports the first of each kind, so that one bug is one line.
type failures struct {
	mu   sync.Mutex
	seen map[string]int
}

func (f *failures) add(t *testing.T, err error) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = make(map[string]int)
	}
	name, _, _ := strings.Cut(err.Error(), " ")
	f.seen[name]++
	if f.seen[name] <= 2 {
		t.Error(err)
	} else if f.seen[name] == 3 {
		t.Errorf("%s: and more like it", name)
	}
}
