// Package durable makes what stands on a disk outlive the machine's crash.
package durable

import (
	"errors"
	"fmt"
	"os"
)

// SyncDir makes the names in a folder durable: those of files that were made,
// renamed or removed there. What is in the files is synced apart.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
