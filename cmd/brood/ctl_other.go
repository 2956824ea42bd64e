//go:build !linux

package main

import (
	"errors"
	"fmt"

	"github.com/brood-go/brood/batch"
)

// ctlSocket is where a batch listens; there are none on this platform.
type ctlSocket struct {
	pid     int
	foreign bool
}

func ctlSockets() ([]ctlSocket, error) {
	return nil, fmt.Errorf("ctl: %w: batches are steered on Linux only; signals do the same: INT and HUP drain, TERM terminates, USR1 lists", errors.ErrUnsupported)
}

func (ctlSocket) ask(ctlRequest) (*ctlAnswer, error) { return nil, errors.ErrUnsupported }

func (ctlSocket) command() []string { return nil }

// control does nothing on this platform.
type control struct{}

func listenControl(*batch.Batch, *holder, *signals, *progress) *control { return nil }

func (*control) stop() {}
