//go:build !linux

package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// SlotOptions configures a slot.
type SlotOptions struct{ Nice int }

// Slot runs one process tree at a time, on Linux.
type Slot struct{}

// Proc is a running process and its tree, on Linux.
type Proc struct{}

var errPlatform = fmt.Errorf("child: supervised processes need Linux, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

// PortableOnly reports whether RunPortable is all there is to start a process with.
const PortableOnly = true

// Init does nothing on this platform.
func Init() {}

// Executable is the path of the running program.
func Executable() string {
	path, _ := os.Executable()
	return path
}

// Scratch is a file for a child to write to, removed from its directory at once where
// the system allows that.
func Scratch(name string) (*os.File, error) {
	f, err := os.CreateTemp("", name+"-*")
	if err == nil {
		os.Remove(f.Name())
	}
	return f, err
}

// Usage is not known.
func Usage(int) (time.Duration, int64) { return 0, 0 }

// Go runs f on a goroutine of its own.
func Go(f func()) { go f() }

// Open returns an error that says that this platform is not supported.
func Open(SlotOptions) (*Slot, error) { return nil, errPlatform }

// Run returns the same error as Open.
func (s *Slot) Run(*Spec, func(*Proc)) (Report, error) {
	return Report{Code: -1, Reason: NotStarted}, errPlatform
}

// Close does nothing.
func (s *Slot) Close() error { return nil }

// PID is 0.
func (p *Proc) PID() int { return 0 }

// Wake does nothing.
func (p *Proc) Wake() {}

// Stop does nothing.
func (p *Proc) Stop(Reason) {}

// Kill does nothing.
func (p *Proc) Kill(Reason) {}

// SetWall does nothing on this platform.
func (p *Proc) SetWall(time.Duration) {}

// Signal returns the same error as Open.
func (p *Proc) Signal(syscall.Signal) error { return errPlatform }

// Look returns the same error as Open.
func (p *Proc) Look(bool) (Activity, error) { return Activity{}, errPlatform }

// Pause returns the same error as Open.
func (p *Proc) Pause(context.Context) error { return errPlatform }

// Resume returns the same error as Open.
func (p *Proc) Resume() error { return errPlatform }
