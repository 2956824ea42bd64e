//go:build !unix

package child

import "os"

// Detach is for Unix systems.
func Detach([]string, ...*os.File) error { return errPlatform }
