package network

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// commit writes the table in one transaction. Where previous, the ruleset that
// was written before, is known, only what differs is written: the kernel adds
// at once, but waits for every processor before it lets go of something.
func (rs *ruleset) commit(previous *ruleset) error {
	if previous != nil {
		err := rs.change(previous)
		if err == nil {
			return nil
		}
		// Whatever is there now: writing the whole table needs no knowledge of it.
	}
	return rs.transact(rs.replace)
}

// errWhole tells that a table cannot be changed into another one.
var errWhole = errors.New("the table must be written anew")

func (rs *ruleset) change(previous *ruleset) error {
	d, err := differences(previous, rs)
	if err != nil || d.none() {
		return err
	}
	return rs.transact(func(conn *nftables.Conn) error { return d.write(conn, rs.table) })
}

func (rs *ruleset) transact(write func(*nftables.Conn) error) error {
	opts, closeFn, err := nftOptions(rs.path)
	if err != nil {
		return err
	}
	defer closeFn()
	conn, err := nftables.New(opts...)
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	if err := write(conn); err != nil {
		return err
	}
	return conn.Flush()
}

// replace writes the table instead of one of the same name.
func (rs *ruleset) replace(conn *nftables.Conn) error {
	// Deleting a table fails when there is none, so it is made first.
	conn.AddTable(rs.table)
	conn.DelTable(rs.table)
	conn.AddTable(rs.table)
	return (&delta{newSets: rs.sets, newChains: rs.chains}).write(conn, rs.table)
}

// delta is what turns one ruleset into another.
type delta struct {
	newSets, oldSets     []*setSpec
	newChains, oldChains []*chainSpec
	// rewritten are chains that stay and get other rules.
	rewritten []*chainSpec
	// more and fewer are elements of sets that stay; refilled are sets that
	// are emptied first.
	more, fewer, refilled []*setSpec
}

func (d *delta) none() bool {
	return len(d.newSets)+len(d.oldSets)+len(d.newChains)+len(d.oldChains)+len(d.rewritten)+len(d.more)+len(d.fewer)+len(d.refilled) == 0
}

// write queues the changes in an order in which everything that is named is
// there.
func (d *delta) write(conn *nftables.Conn, table *nftables.Table) error {
	var errs []error
	for _, s := range d.fewer {
		errs = append(errs, portions(s, conn.SetDeleteElements))
	}
	// What goes may name chains that go before it.
	for _, s := range slices.Concat(d.refilled, d.oldSets) {
		conn.FlushSet(s.Set)
	}
	for _, s := range d.newSets {
		if err := conn.AddSet(s.Set, nil); err != nil {
			errs = append(errs, fmt.Errorf("set %s: %w", s.Name, err))
		}
	}
	for _, c := range d.newChains {
		conn.AddChain(c.Chain)
	}
	for _, c := range slices.Concat(d.rewritten, d.oldChains) {
		conn.FlushChain(c.Chain)
	}
	// Verdicts of maps name chains, which are all there now.
	for _, s := range slices.Concat(d.newSets, d.refilled, d.more) {
		errs = append(errs, portions(s, conn.SetAddElements))
	}
	for _, c := range slices.Concat(d.newChains, d.rewritten) {
		for _, exprs := range c.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: c.Chain, Exprs: exprs})
		}
	}
	for _, c := range d.oldChains {
		conn.DelChain(c.Chain)
	}
	for _, s := range d.oldSets {
		conn.DelSet(s.Set)
	}
	return errors.Join(errs...)
}

// portions hands over a set's elements in parts that fit into a message.
func portions(s *setSpec, do func(*nftables.Set, []nftables.SetElement) error) error {
	for part := range slices.Chunk(s.elements, 400) {
		if err := do(s.Set, part); err != nil {
			return fmt.Errorf("elements of %s: %w", s.Name, err)
		}
	}
	return nil
}

// differences compares two rulesets of one table. errWhole tells that one
// cannot be changed into the other.
func differences(from, to *ruleset) (*delta, error) {
	d := &delta{}
	var err error
	if d.oldSets, d.newSets, err = pair(from.sets, to.sets, func(s *setSpec) string { return s.Name }, d.set); err != nil {
		return nil, err
	}
	d.oldChains, d.newChains, err = pair(from.chains, to.chains, func(c *chainSpec) string { return c.Name }, d.chain)
	if err != nil {
		return nil, err
	}
	// What packets meet at a hook is the table's frame.
	if slices.ContainsFunc(slices.Concat(d.oldChains, d.newChains), func(c *chainSpec) bool { return c.Hooknum != nil }) {
		return nil, errWhole
	}
	return d, nil
}

// pair finds what is in one list alone, and calls both for what is in both.
func pair[T any](from, to []T, name func(T) string, both func(old, now T) error) (gone, made []T, err error) {
	old := map[string]T{}
	for _, x := range from {
		old[name(x)] = x
	}
	for _, x := range to {
		before, there := old[name(x)]
		if !there {
			made = append(made, x)
			continue
		}
		delete(old, name(x))
		if err := both(before, x); err != nil {
			return nil, nil, err
		}
	}
	for _, x := range from {
		if _, left := old[name(x)]; left {
			gone = append(gone, x)
		}
	}
	return gone, made, nil
}

func (d *delta) chain(old, now *chainSpec) error {
	a, b := *old.Chain, *now.Chain
	a.Table, b.Table = nil, nil
	if !reflect.DeepEqual(a, b) {
		return errWhole
	}
	if !slices.EqualFunc(old.rules, now.rules, sameRule) {
		d.rewritten = append(d.rewritten, now)
	}
	return nil
}

// sameRule tells whether two rules do the same. Sets are known by their names;
// their numbers are good for one transaction only.
func sameRule(a, b []expr.Any) bool {
	return slices.EqualFunc(a, b, func(x, y expr.Any) bool {
		lx, isX := x.(*expr.Lookup)
		ly, isY := y.(*expr.Lookup)
		if isX && isY {
			p, q := *lx, *ly
			p.SetID, q.SetID = 0, 0
			return p == q
		}
		return reflect.DeepEqual(x, y)
	})
}

func (d *delta) set(old, now *setSpec) error {
	a, b := *old.Set, *now.Set
	a.Table, b.Table, a.ID, b.ID = nil, nil, 0, 0
	if !reflect.DeepEqual(a, b) {
		return errWhole
	}
	more, fewer := missing(now.elements, old.elements), missing(old.elements, now.elements)
	if now.Interval && len(more)+len(fewer) > 0 {
		// The ends of ranges are elements too, and mean nothing alone.
		d.refilled = append(d.refilled, now)
		return nil
	}
	if len(more) > 0 {
		d.more = append(d.more, &setSpec{now.Set, more})
	}
	if len(fewer) > 0 {
		d.fewer = append(d.fewer, &setSpec{now.Set, fewer})
	}
	return nil
}

// missing are the elements that others do not have just so.
func missing(elements, others []nftables.SetElement) []nftables.SetElement {
	have := make(map[string]*nftables.SetElement, len(others))
	for i := range others {
		have[elementKey(&others[i])] = &others[i]
	}
	var out []nftables.SetElement
	for i := range elements {
		e := &elements[i]
		o := have[elementKey(e)]
		if o == nil || !bytes.Equal(o.Val, e.Val) || !reflect.DeepEqual(o.VerdictData, e.VerdictData) {
			out = append(out, *e)
		}
	}
	return out
}

func elementKey(e *nftables.SetElement) string {
	return fmt.Sprintf("%x-%x-%t", e.Key, e.KeyEnd, e.IntervalEnd)
}
