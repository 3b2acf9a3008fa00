package ec2

import (
	"context"
	"encoding/base64"
	"time"

	"roadstead.dev/internal/api/ec2"
)

// Consoles are the instances' consoles.
type Consoles interface {
	// Console is the end of what an instance has written, and when it last did:
	// nothing, and no error, for one that never ran.
	Console(instanceID string) ([]byte, time.Time, error)
}

// GetConsoleOutput tells what an instance wrote to its console.
func (s *Service) GetConsoleOutput(ctx context.Context, in *ec2.GetConsoleOutputInput) (*ec2.GetConsoleOutputOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	row, err := s.instance(ctx, call, deref(in.InstanceId))
	if err != nil {
		return nil, err
	}
	out := &ec2.GetConsoleOutputOutput{InstanceId: in.InstanceId, Timestamp: new(call.Time)}
	if s.consoles == nil {
		return out, nil
	}
	text, at, err := s.consoles.Console(row.V.ID)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return out, nil
	}
	out.Output, out.Timestamp = new(base64.StdEncoding.EncodeToString(text)), &at
	return out, nil
}
