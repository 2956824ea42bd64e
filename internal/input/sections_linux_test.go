package input

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A FIFO is refused, and nobody waits until somebody writes to it.
func TestSectionsOfFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FileSizes([]string{path}); err == nil || !strings.Contains(err.Error(), "neither a file nor") {
		t.Errorf("%v", err)
	}
	if _, err := (&Section{path: path}).Open(); err != errNotSized {
		t.Errorf("opened for a job: %v", err)
	}
}

// Files of the kernel's whose size is not what is in them.
func TestSectionsOfKernelFiles(t *testing.T) {
	for _, path := range []string{"/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"} {
		if _, err := os.Stat(path); err != nil {
			continue // not every machine has it
		}
		if _, err := FileSizes([]string{path}); err == nil || !strings.Contains(err.Error(), "use --pipe < FILE") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
