package batch

import (
	"fmt"
	"sync"
	"time"
)

// limitGate runs the command of Options.Limit before each start and keeps what it said. The
// command runs on a slot of its own, number 0, on the goroutine that Runner.Open gives: it is
// supervised as jobs are, and ended with the batch.
//
// Wake argument: who needs a permit and finds none notes its wish under Batch.mu and rings; the
// gate sleeps on ring and end alone, and looks at the wish under Batch.mu. A permit is used up by one
// start. Who has got one rings the watcher, which asks again for the first that waits.
type limitGate struct {
	ring, end chan struct{}
	done      sync.WaitGroup

	// Guarded by Batch.mu.
	wish     bool
	permitAt time.Time // of a permit that nobody has used up; zero: there is none
	proc     Running   // the command, while it runs
	over     bool
}

const (
	limitFirst = 100 * time.Millisecond // from a refusal to the next try, doubled with each
	limitMost  = time.Second

	permitLasts = time.Second // one that could not be used, because something else was lacking
)

// permits uses up a permit, or asks for one. Called with mu held.
func (g *limitGate) permits() bool {
	if at := g.permitAt; !at.IsZero() {
		g.permitAt = time.Time{}
		if time.Since(at) < permitLasts {
			return true
		}
	}
	if !g.wish {
		g.wish = true
		select {
		case g.ring <- struct{}{}:
		default:
		}
	}
	return false
}

// beginLimit opens the gate's slot.
func (b *Batch) beginLimit() {
	if b.o.Limit == "" {
		return
	}
	g := &b.limit
	g.ring, g.end = make(chan struct{}, 1), make(chan struct{})
	g.done.Add(1)
	b.o.Runner.Open(0, func(s Slot, err error) {
		defer g.done.Done()
		if err != nil {
			b.limitFails(err)
			return
		}
		b.serveLimit(s)
	})
}

// endLimit ends the command if it runs, and the gate.
func (b *Batch) endLimit() {
	g := &b.limit
	if g.end == nil {
		return
	}
	close(g.end)
	b.mu.Lock()
	g.over = true
	if g.proc != nil {
		g.proc.Kill()
	}
	b.mu.Unlock()
	g.done.Wait()
}

// serveLimit asks the command whenever somebody wants to start, until the end.
func (b *Batch) serveLimit(s Slot) {
	g := &b.limit
	pause := limitFirst
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-g.ring:
		case <-timer.C:
		case <-g.end:
			return
		}
		b.mu.Lock()
		wanted := g.wish && b.level == running
		b.mu.Unlock()
		if !wanted {
			continue
		}
		code, err := b.askLimit(s)
		if err != nil {
			b.limitFails(err)
			return
		}
		if code == 0 {
			pause = limitFirst
			b.mu.Lock()
			g.permitAt, g.wish = time.Now(), false
			b.mu.Unlock()
			b.ringWatch()
			continue
		}
		if code == 2 {
			b.mu.Lock()
			if b.level == running && !b.held {
				b.evict(false)
			}
			b.mu.Unlock()
		}
		timer.Reset(pause)
		pause = min(2*pause, limitMost)
	}
}

// askLimit runs the command once.
func (b *Batch) askLimit(s Slot) (code int, err error) {
	st := Start{
		Path: b.o.Shell, Argv: b.shell(b.o.Limit), Dir: b.o.Dir, Env: b.o.Env,
		Stdout: b.o.Stderr, Stderr: b.o.Stderr, Stop: b.o.Stop,
	}
	rep, err := s.Run(&st, func(p Running) {
		b.mu.Lock()
		b.limit.proc = p
		if b.limit.over {
			p.Kill()
		}
		b.mu.Unlock()
	})
	b.mu.Lock()
	b.limit.proc = nil
	over := b.limit.over
	b.mu.Unlock()
	switch {
	case over:
		return 1, nil
	case err == nil && (rep.ExitCode == 126 || rep.ExitCode == 127):
		err = fmt.Errorf("it ended with code %d: the shell can't run it", rep.ExitCode)
	case err == nil && rep.ExitCode < 0:
		return 1, nil // a signal: nobody knows
	}
	return rep.ExitCode, err
}

// limitFails ends the batch: nothing more may begin, for ever.
func (b *Batch) limitFails(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setErr(fmt.Errorf("batch: the command %q that limits the starts: %w", b.o.Limit, err))
	b.raise(draining)
}
