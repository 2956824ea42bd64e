package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brood-go/brood/share"
)

// A copy whose caller has died before it could be told runs nothing.
func TestSemCallerGone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("BROOD_SPACE_DIR", filepath.Join(dir, "spaces"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	f := &semFlags{allowed: 1, report: w}
	ran := filepath.Join(dir, "ran")
	if err := f.hold("name", "echo > "+ran); !errors.Is(err, exitCode(ownError)) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the command ran")
	}
	if names, err := share.Spaces(); err != nil || len(names) > 0 {
		t.Errorf("spaces are left: %q, %v", names, err)
	}
}

// Names that differ have spaces that differ, with names that a space can have.
func TestSemSpace(t *testing.T) {
	t.Setenv("BROOD_SPACE_DIR", filepath.Join(t.TempDir(), "spaces"))
	seen := make(map[string]string)
	for _, id := range []string{"a", "A", "_61", "a/b", "a_2fb", "..", ".", "", " ", "é", "/dev/pts/3", strings.Repeat("x", 200), strings.Repeat("x", 201), strings.Repeat("/", 50)} {
		name := semSpace(id)
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q are both %s", id, other, name)
		}
		seen[name] = id
		s, err := share.Open(name)
		if err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		s.Close()
	}
}
