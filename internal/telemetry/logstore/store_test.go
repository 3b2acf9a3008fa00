package logstore

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "logs.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func batch(group, stream string, ingestion int64, timestamps ...int64) Batch {
	b := Batch{Stream: Stream{group, stream}, Ingestion: ingestion}
	for i, ts := range timestamps {
		b.Events = append(b.Events, Event{Position: Position{Timestamp: ts}, Message: fmt.Sprintf("%s@%d#%d", stream, ts, i)})
	}
	return b
}

// The store gives what a sorted list would.
func TestReadsAreThoseOfASortedList(t *testing.T) {
	s := open(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		group := fmt.Sprint("g", run)
		streams := []string{"a", "b", "c"}
		model := map[string][]Event{}
		for range rapid.IntRange(1, 6).Draw(rt, "batches") {
			id := rapid.SampledFrom(streams).Draw(rt, "stream")
			b := batch(group, id, 7, rapid.SliceOfN(rapid.Int64Range(0, 8), 1, 5).Draw(rt, "times")...)
			if err := s.Append(context.Background(), []Batch{b}, nil); err != nil {
				rt.Fatal(err)
			}
			for _, e := range b.Events {
				e.Seq, e.Ingestion = uint64(len(model[id])+1), 7
				model[id] = append(model[id], e)
			}
		}
		for _, l := range model {
			slices.SortFunc(l, func(a, b Event) int { return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.Seq, b.Seq)) })
		}
		r := Range{From: rapid.Int64Range(0, 9).Draw(rt, "from"), To: rapid.Int64Range(0, 9).Draw(rt, "to")}
		if rapid.Bool().Draw(rt, "after") {
			r.After = Position{rapid.Int64Range(0, 8).Draw(rt, "ts"), uint64(rapid.IntRange(0, 9).Draw(rt, "seq"))}
		} else if rapid.Bool().Draw(rt, "before") {
			r.Before = Position{rapid.Int64Range(1, 8).Draw(rt, "ts"), uint64(rapid.IntRange(0, 9).Draw(rt, "seq"))}
		}
		in := func(e Event) bool {
			return e.Timestamp >= r.From && (r.To == 0 || e.Timestamp < r.To) &&
				(r.After == Position{} || r.After.Less(e.Position)) && (r.Before == Position{} || e.Position.Less(r.Before))
		}
		limit := rapid.IntRange(1, 10).Draw(rt, "limit")
		for _, id := range streams {
			var want []Event
			for _, e := range model[id] {
				if in(e) {
					want = append(want, e)
				}
			}
			fromEnd := rapid.Bool().Draw(rt, "fromEnd")
			if len(want) > limit {
				if fromEnd {
					want = want[len(want)-limit:]
				} else {
					want = want[:limit]
				}
			}
			got, err := s.Read(Stream{group, id}, r, fromEnd, limit, 1<<20)
			if err != nil {
				rt.Fatal(err)
			}
			if !slices.Equal(got, want) {
				rt.Fatalf("read %s %+v: got %v, want %v", id, r, got, want)
			}
		}
		checkScan(rt, s, group, streams, model, Range{From: r.From, To: r.To})
	})
}

// A scan in pages of any size gives every event once, in order.
func checkScan(rt *rapid.T, s *Store, group string, streams []string, model map[string][]Event, r Range) {
	type item struct {
		stream string
		e      Event
	}
	var want, got []item
	for _, id := range streams {
		for _, e := range model[id] {
			if e.Timestamp >= r.From && (r.To == 0 || e.Timestamp < r.To) {
				want = append(want, item{id, e})
			}
		}
	}
	slices.SortFunc(want, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.e.Timestamp, b.e.Timestamp), cmp.Compare(a.stream, b.stream), cmp.Compare(a.e.Seq, b.e.Seq))
	})
	page := rapid.IntRange(1, 5).Draw(rt, "page")
	var after Place
	for more := true; more; {
		more = false
		n := 0
		err := s.Scan(group, streams, r, after, func(stream string, e Event) bool {
			if n == page {
				more = true
				return false
			}
			n++
			got = append(got, item{stream, e})
			after = Place{e.Timestamp, stream, e.Seq}
			return true
		})
		if err != nil {
			rt.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("scan %+v: got %v, want %v", r, got, want)
	}
}

func TestAppendsSurviveAndCursorsMove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := s.Append(t.Context(), []Batch{batch("g", "s", 1, int64(i))}, map[string]int64{fmt.Sprint("c", i): int64(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := s.Append(t.Context(), nil, map[string]int64{"c0": -1, "c1": 99}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), []Batch{batch("g", "s", 1, 1)}, nil); err == nil {
		t.Error("a closed store appends")
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events, err := s.Read(Stream{"g", "s"}, Range{}, false, 1000, 1<<20)
	if err != nil || len(events) != 50 {
		t.Errorf("%d events, %v", len(events), err)
	}
	cursors, err := s.Cursors()
	if err != nil || len(cursors) != 49 || cursors["c1"] != 99 || cursors["c7"] != 7 {
		t.Errorf("cursors %v, %v", cursors, err)
	}
	st, err := s.Stats(Stream{"g", "s"})
	if err != nil || st.First != 0 || st.Last != 49 || st.Events != 50 {
		t.Errorf("stats %+v, %v", st, err)
	}
}

func TestExpire(t *testing.T) {
	s := open(t)
	times := make([]int64, expireChunk+10)
	for i := range times {
		times[i] = int64(i)
	}
	if err := s.Append(t.Context(), []Batch{batch("g", "a", 1, times...), batch("g", "b", 1, 5, 1e6), batch("h", "a", 1, 1)}, nil); err != nil {
		t.Fatal(err)
	}
	n, err := s.Expire(t.Context(), "g", expireChunk+5)
	if err != nil || n != expireChunk+6 {
		t.Errorf("expired %d, %v", n, err)
	}
	st, _ := s.Stats(Stream{"g", "a"})
	if st.Events != 5 || st.First != expireChunk+5 || st.Bytes <= 0 {
		t.Errorf("stats %+v", st)
	}
	if st, _ := s.Stats(Stream{"h", "a"}); st.Events != 1 {
		t.Errorf("another group lost events: %+v", st)
	}
	if err := s.DeleteStream(Stream{"g", "a"}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteGroup("g"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteGroup("g"); err != nil {
		t.Errorf("deleting twice: %v", err)
	}
	if groups, _ := s.Groups(); !slices.Equal(groups, []string{"h"}) {
		t.Errorf("groups %v", groups)
	}
}

func BenchmarkAppend(b *testing.B) {
	s := open(b)
	times := make([]int64, 1000)
	ts := int64(0)
	for b.Loop() {
		for i := range times {
			ts++
			times[i] = ts
		}
		if err := s.Append(b.Context(), []Batch{batch("g", "s", 1, times...)}, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "events/s")
}
