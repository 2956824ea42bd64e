//go:build !linux

package share

import (
	"errors"
	"testing"
)

// Processes share spaces on Linux only.
var shared []substrate

// Elsewhere the error says so.
func TestUnsupported(t *testing.T) {
	if _, err := Open("x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open: %v", err)
	}
	if _, err := New(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New: %v", err)
	}
}
