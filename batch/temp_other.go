//go:build !linux

package batch

import "os"

// openTemp opens a temporary file without a name.
func openTemp(dir string) (*os.File, error) { return openUnlinked(dir) }
