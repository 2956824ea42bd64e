//go:build !unix

package journal

import (
	"errors"
	"os"
)

// errHeld is lock's error when somebody else holds the lock.
var errHeld = errors.New("held")

// lock does nothing on this platform, which runs no jobs.
func lock(*os.File) error { return nil }

// holder knows nobody.
func holder(*os.File) int { return 0 }
