//go:build !linux

package link

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Spin is not used without rings.
const Spin = 0

// rings is the memory that two processes share, on Linux.
type rings struct{}

var errRings = fmt.Errorf("link: rings in shared memory need Linux: %w", errors.ErrUnsupported)

func newRings() (*rings, *os.File, error)         { return nil, nil, errRings }
func openRings(uintptr) (*rings, error)           { return nil, errRings }
func (*rings) sender() Sender                     { return nil }
func (*rings) receiver() Receiver                 { return nil }
func (*rings) introduce(*Conn, *Held) []byte      { return nil }
func (*rings) deliver(*Message)                   {}
func (*rings) hand(*Conn, []byte) ([]byte, error) { return nil, errRings }
func (*rings) close()                             {}
func (*rings) open(context.Context, []byte) (b []byte, done func(), err error) {
	return nil, nil, errRings
}

// Outbox keeps large arguments, on Linux.
type Outbox struct{}

// Held is a large argument, on Linux.
type Held struct{}

// NewOutbox is nil: arguments travel in the frames.
func NewOutbox() *Outbox { return nil }

// Hold is not supported here.
func (*Outbox) Hold([]byte) (*Held, error) { return nil, errRings }

// Close does nothing.
func (*Outbox) Close() {}

// Release does nothing.
func (*Held) Release() {}

func (*Outbox) join(*Host)  {}
func (*Outbox) leave(*Host) {}
