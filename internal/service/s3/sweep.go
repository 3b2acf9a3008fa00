package s3

import (
	"context"
	"fmt"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/s3/contents"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// firstSweep, after the start, and sweepEvery are when files are looked for
	// that belong to nothing, which a crash between file and record leaves.
	firstSweep = time.Second
	sweepEvery = time.Hour
)

// Run keeps the folder of contents free of what nothing refers to, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	for timer := s.Clock.NewTimer(firstSweep); ; timer.Reset(sweepEvery) {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		swept, err := s.Contents.Sweep(ctx, func() (map[contents.ID]struct{}, error) { return s.named(ctx) })
		switch {
		case err != nil && ctx.Err() == nil:
			s.Log.ErrorContext(ctx, "sweep the contents of buckets", "error", err)
		case swept.Files > 0:
			s.Log.InfoContext(ctx, "swept the contents of buckets", "files", swept.Files, "bytes", swept.Bytes)
		}
	}
}

// named are the contents that records name.
func (s *Service) named(ctx context.Context) (map[contents.ID]struct{}, error) {
	out := map[contents.ID]struct{}{}
	add := func(list []model.S3Piece) {
		for _, p := range list {
			out[contents.ID(p.ID)] = struct{}{}
		}
	}
	if err := eachRow(ctx, s.Store, tables.S3Parts, func(p *model.S3Part) { add([]model.S3Piece{p.Piece}) }); err != nil {
		return nil, err
	}
	// Objects after parts, and versions after objects: what a part was may
	// become an object's meanwhile, and what was an object's alone a version's.
	if err := eachRow(ctx, s.Store, tables.S3Objects, func(o *model.S3Object) { add(o.Pieces) }); err != nil {
		return nil, err
	}
	if err := eachRow(ctx, s.Store, tables.S3Versions, func(o *model.S3Object) { add(o.Pieces) }); err != nil {
		return nil, err
	}
	return out, nil
}

func eachRow[T any](ctx context.Context, st store.Store, table *store.Table[T], f func(*T)) error {
	rows, err := table.List(ctx, st, store.Query{})
	if err != nil {
		return fmt.Errorf("list what names contents: %w", err)
	}
	for _, r := range rows {
		f(r.V)
	}
	return nil
}
