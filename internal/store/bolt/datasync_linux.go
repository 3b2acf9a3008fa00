package bolt

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes a file's content durable, without the time of the change.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return err
		}
	}
}
