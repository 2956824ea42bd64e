//go:build race

package race

import (
	"runtime"
	"unsafe"
)

// Shadow stands for a lock.
type Shadow struct{ b byte }

// Acquire makes what was done before each Release so far happen before what follows.
func (s *Shadow) Acquire() { runtime.RaceAcquire(unsafe.Pointer(&s.b)) }

// Release makes what was done before happen before what follows a later Acquire.
func (s *Shadow) Release() { runtime.RaceReleaseMerge(unsafe.Pointer(&s.b)) }
