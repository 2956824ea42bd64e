package batch

import (
	"os"

	"golang.org/x/sys/unix"
)

// openTemp opens a file that never has a name, so that nothing is left of it
// even by SIGKILL.
func openTemp(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if err == nil {
		return f, nil
	}
	return openUnlinked(dir) // some filesystems have no O_TMPFILE
}
