//go:build !unix

package main

import (
	"os"
	"syscall"

	"github.com/brood-go/brood/batch"
)

const (
	usr1 syscall.Signal = 0
	usr2 syscall.Signal = 0
)

// signals does nothing on this platform, which runs no jobs.
type signals struct{}

func takePipeSignal() {}

func handleSignals(*batch.Batch, *holder, *progress) *signals { return &signals{} }

func (s *signals) stop() {}

func (s *signals) last() os.Signal { return nil }

func (s *signals) interrupted() {}
