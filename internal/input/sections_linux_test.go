package input

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A FIFO is refused, and nobody waits until somebody writes to it.
func TestSectionsOfFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FileSizes([]string{path}); err == nil || !strings.Contains(err.Error(), "neither a file nor") {
		t.Errorf("%v", err)
	}
	if _, err := (&Section{path: path}).Open(); err != errNotSized {
		t.Errorf("opened for a job: %v", err)
	}
}
