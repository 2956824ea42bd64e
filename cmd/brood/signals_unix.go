//go:build unix

package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/brood-go/brood/batch"
)

const (
	usr1 = syscall.SIGUSR1
	usr2 = syscall.SIGUSR2

	// SIGRTMIN+1 and +2, as shells number them: one job more at once, and one fewer.
	moreJobs  = syscall.Signal(35)
	fewerJobs = syscall.Signal(36)
)

// signals turns signals into requests to the batch.
type signals struct {
	b    *batch.Batch
	h    *holder
	p    *progress
	ch   chan os.Signal
	quit chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	ints  int
	final os.Signal // the last one that stopped the batch
}

// takePipeSignal makes a closed standard output an error that can be reported
// instead of our death. Jobs get the default back, as of every signal that has
// a handler.
func takePipeSignal() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// handleSignals begins to listen.
func handleSignals(b *batch.Batch, h *holder, p *progress) *signals {
	s := &signals{b: b, h: h, p: p, ch: make(chan os.Signal, 16), quit: make(chan struct{})}
	signal.Notify(s.ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, moreJobs, fewerJobs)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(s.ch, syscall.SIGHUP)
	}
	if !signal.Ignored(syscall.SIGQUIT) { // in the background of a script
		signal.Notify(s.ch, syscall.SIGQUIT)
	}
	s.done.Go(s.loop)
	return s
}

func (s *signals) loop() {
	for {
		select {
		case sig := <-s.ch:
			s.handle(sig)
		case <-s.quit:
			return
		}
	}
}

// stop ends the listening.
func (s *signals) stop() {
	signal.Stop(s.ch)
	close(s.quit)
	s.done.Wait()
}

// last is the signal that stopped the batch, nil if none did.
func (s *signals) last() os.Signal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

func (s *signals) handle(sig os.Signal) {
	switch sig {
	case syscall.SIGINT:
		s.interrupted()
	case syscall.SIGHUP:
		s.stopping(sig)
		s.h.drain()
	case syscall.SIGTERM:
		s.stopping(sig)
		s.b.Terminate()
	case syscall.SIGQUIT: // without it: a dump of goroutines, and exit code 2 as of two failed jobs
		s.stopping(sig)
		s.b.Kill()
	case syscall.SIGUSR1, syscall.SIGUSR2: // to GNU parallel the second is about progress
		s.list()
	case syscall.SIGTSTP:
		s.suspend()
	case moreJobs, fewerJobs:
		s.p.clear()
		moreSlots(s.b, 1-2*int(sig.(syscall.Signal)-moreJobs))
	}
}

// stopping notes why the batch ends, and how often Ctrl-C was pressed.
func (s *signals) stopping(sig os.Signal) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = sig
	if sig == syscall.SIGINT {
		s.ints++
	}
	return s.ints
}

// interrupted is Ctrl-C: it stops the starts, then ends the jobs, then kills them.
func (s *signals) interrupted() {
	n := s.stopping(syscall.SIGINT)
	s.p.clear()
	switch running := s.b.Stats().Running; n {
	case 1:
		s.h.drain()
		inform("no more jobs are started; waiting for %s (Ctrl-C again: terminate)", count(running, "running job"))
	case 2:
		s.b.Terminate()
		inform("terminating %s (Ctrl-C again: kill)", count(running, "running job"))
	default:
		s.b.Kill()
	}
}

// list says what runs.
func (s *signals) list() {
	s.p.clear()
	for _, line := range statusOf(s.b, s.h, true).lines() {
		note("%s", line)
	}
}

// suspend is Ctrl-Z: the jobs stand still, then brood does; with fg they go on.
// kill returns before every thread of ours stands still, so that what comes after
// the stop waits for SIGCONT: the jobs would run on while we are stopped.
func (s *signals) suspend() {
	if os.Getpid() == 1 {
		return // the first process of a container can't stop itself
	}
	cont := make(chan os.Signal, 1)
	signal.Notify(cont, syscall.SIGCONT)
	defer signal.Stop(cont)
	s.p.hide(true)
	s.h.stop()
	select {
	case <-cont: // already
	default:
		if syscall.Kill(os.Getpid(), syscall.SIGSTOP) == nil {
			<-cont
		}
	}
	s.h.cont()
	s.p.hide(false)
}
