package brood

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/brood-go/brood/internal/link"
)

// The crash-loop breaker. A start that fails by its own fault counts ten times one
// that somebody killed; the first outcome of a worker sets the count back, and so does a
// long time without a failure. A worker that ends by itself when it has just become
// ready and runs nothing is a failed start as well: what its initializer left running
// has ended it. What happens to a worker that has served does not count. A system that is out
// of descriptors, processes or memory counts as somebody who kills, and not at all as long as some
// workers serve: that is a smaller pool for a while.
const (
	faultWeight = 10
	killWeight  = 1
	breakAfter  = 3 * faultWeight // for each worker that is wanted
	firstPause  = 10 * time.Millisecond
	longPause   = time.Second
	youngAge    = 10 * time.Second // of a worker that ends by itself without a task
	forgetAfter = time.Minute      // without a failure; or twice as long as a start may take
)

// reconcile compares the workers that are wanted with those there are. Called with
// mu held.
func (p *pool) reconcile(now time.Time) {
	if p.closing || p.broken != nil {
		p.endAll(now)
		return
	}
	if p.once {
		if p.made == 0 {
			p.spawn(now)
		}
		return
	}
	want, spares := p.wanted()
	var starting, serving, leaving int // leaving: they still run what they have
	for _, h := range p.hosts {
		switch h.state {
		case hostStarting:
			starting++
		case hostServing:
			serving++
		case hostRetiring:
			if len(h.flights) == 0 {
				p.tellToQuit(h, now)
			} else {
				leaving++
			}
		}
	}
	spare := 0
	for _, h := range p.hosts {
		if h.state != hostSpare {
			continue
		}
		switch {
		case serving+leaving < want:
			serving++
			p.promote(h, now)
		case spare < spares:
			spare++
		default:
			p.tellToQuit(h, now)
		}
	}
	for ; serving > want; serving-- {
		p.retireOne(now)
	}
	n := want + spares - serving - leaving - spare - starting
	if p.shortages > 0 {
		n = min(n, 1-starting) // several would take from each other what is left
	}
	for ; n > 0; n-- {
		if now.Before(p.retryAt) {
			p.wakeBy(p.retryAt)
			break
		}
		p.spawn(now)
	}
}

// wanted is how many workers should serve, and how many should be spare. With an
// idle timeout it is as many as there is work for, and those that have not been idle
// for so long.
func (p *pool) wanted() (want, spares int) {
	if p.o.IdleTimeout == 0 {
		return p.want, p.o.Spares
	}
	want = p.queued
	for _, h := range p.hosts {
		switch h.state {
		case hostServing:
			want += max(1, len(h.flights))
		case hostRetiring: // it holds its place until it is done
			want += len(h.flights)
		}
	}
	want = min(max(want, p.o.MinWorkers), p.want)
	if want == 0 {
		return 0, 0
	}
	return want, p.o.Spares
}

// promote makes a ready worker serve. Called with mu held.
func (p *pool) promote(h *host, now time.Time) {
	h.state, h.idleSince = hostServing, now
	p.feedAll()
	if len(h.flights) == 0 {
		p.becameIdle(h)
	}
}

// retireOne takes the worker with the fewest calls out of service; those that it has
// not taken go to others. Called with mu held.
func (p *pool) retireOne(now time.Time) {
	var least *host
	for _, h := range p.hosts {
		if h.state == hostServing && (least == nil || len(h.flights) < len(least.flights)) {
			least = h
		}
	}
	if least == nil {
		return
	}
	least.state = hostRetiring
	p.takeBack(least, 0)
	if len(least.flights) == 0 {
		p.tellToQuit(least, now)
	}
	least.rx.Wake() // a Call may wait here for a task that is elsewhere now
	p.feedAll()
}

// becameIdle is called when a worker runs nothing. Called with mu held.
func (p *pool) becameIdle(h *host) {
	if h.state == hostRetiring || p.closing || p.broken != nil {
		p.reconcile(time.Now())
		return
	}
	if p.o.IdleTimeout > 0 {
		h.idleSince = time.Now()
		p.wakeBy(h.idleSince.Add(p.o.IdleTimeout))
	}
}

// tellToQuit asks a worker that runs nothing to exit, and has it killed if it does
// not. Called with mu held.
func (p *pool) tellToQuit(h *host, now time.Time) {
	h.state = hostQuitting
	h.conn.Post(link.Message{Type: link.Quit})
	h.killAt = now.Add(max(p.o.Grace, 100*time.Millisecond))
	p.wakeBy(h.killAt)
}

// endAll ends every worker that runs nothing, and those that are not ready. Called
// with mu held.
func (p *pool) endAll(now time.Time) {
	for _, h := range p.hosts {
		switch {
		case h.state == hostStarting:
			h.kill()
		case h.state < hostQuitting && len(h.flights) == 0:
			p.tellToQuit(h, now)
		}
	}
	p.checkFinished()
}

// checkFinished is called with mu held.
func (p *pool) checkFinished() {
	if !p.closing || len(p.hosts) > 0 {
		return
	}
	select {
	case <-p.finished:
	default:
		if p.timer != nil {
			p.timer.Stop()
		}
		if p.outbox != nil {
			p.outbox.Close()
		}
		close(p.finished)
	}
}

// ready is called when a worker has run its initializer.
func (p *pool) ready(h *host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.state != hostStarting || h.killed {
		return
	}
	h.state, h.stage, h.killAt, h.readyAt = hostSpare, "ready", time.Time{}, time.Now()
	p.shortages = 0
	go h.readLoop()
	if p.once {
		h.state = hostServing
		p.feedAll()
		return
	}
	p.reconcile(time.Now())
}

// startFailed counts a worker that did not get ready. Called with mu held.
func (p *pool) startFailed(h *host) {
	err := h.startError()
	p.deaths[err.Stage]++
	weight, short := faultWeight, h.foundShortage()
	if short || h.killedByOthers() {
		weight = killWeight
	}
	now := time.Now()
	if now.Sub(p.failedAt) > max(forgetAfter, 2*p.o.StartTimeout) {
		p.failures = 0
	}
	if short {
		p.shortages++
	} else {
		p.shortages = 0
	}
	if !short || !p.serves() {
		p.failures += weight
		p.failedAt = now
	}
	pause := firstPause << min(max(p.failures, p.shortages)/faultWeight, 10)
	p.retryAt = now.Add(min(pause, longPause))
	if p.once || p.failures >= breakAfter*(p.want+p.o.Spares) {
		p.broken = err
	}
}

// foundShortage reports whether the worker was not started because the system is out of something.
func (h *host) foundShortage() bool {
	return h.stage == "start" && slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM, syscall.ENOBUFS}, func(e error) bool { return errors.Is(h.startErr, e) })
}

// serves reports whether there is a worker that serves. Called with mu held.
func (p *pool) serves() bool {
	return slices.ContainsFunc(p.hosts, func(h *host) bool { return h.state == hostServing && !h.killed && !h.eof })
}

// startError says why a worker did not get ready.
func (h *host) startError() *StartError {
	e := &StartError{Stage: h.stage, PID: h.pid, Err: h.startErr}
	if h.tail != nil {
		e.Output = h.tail.bytes()
	}
	if e.Err != nil {
		return e
	}
	switch {
	case h.killed && h.stage == "handshake":
		e.Err = fmt.Errorf("it did not answer within %v: does its main call brood.Main or brood.Init first thing, before anything that waits?", h.pool.o.StartTimeout)
	case h.killed:
		e.Err = fmt.Errorf("it was not done within %v (PoolOptions.StartTimeout)", h.pool.o.StartTimeout)
	case h.stage == "ready":
		e.Err = fmt.Errorf("it ended by itself before its first task: %w", h.died("nothing"))
	default:
		died := h.died("its " + h.stage)
		e.Err = died
		if h.stage == "handshake" && died.Signal == 0 && len(died.Trace) == 0 {
			e.Err = fmt.Errorf("%w: it ended before it called brood.Main or brood.Init, which must come first thing in main", died)
		}
	}
	return e
}

// wakeBy makes sure that the supervisor looks at the time given. Called with mu held.
func (p *pool) wakeBy(at time.Time) {
	if !p.wakeAt.IsZero() && !at.Before(p.wakeAt) {
		return
	}
	p.wakeAt = at
	d := max(time.Until(at), 0)
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.supervise)
	} else {
		p.timer.Reset(d)
	}
}

// supervise does what is due: it ends tasks that ran out of time and workers that
// ran out of grace, and starts and ends workers whose time has come.
func (p *pool) supervise() {
	p.mu.Lock()
	now := time.Now()
	p.wakeAt = time.Time{}
	type late struct {
		t     *Task
		cause error
	}
	var lates []late
	for _, h := range p.hosts {
		if h.state == hostDead || h.killed || h.ended != nil {
			continue
		}
		p.due(h.killAt, now, h.kill)
		if len(h.flights) == 0 {
			if p.o.IdleTimeout > 0 && h.state == hostServing {
				p.due(h.idleSince.Add(p.o.IdleTimeout), now, func() { p.shrink(h, now) })
			}
			continue
		}
		if !p.endLate(h, now) {
			continue
		}
		f := &h.flights[0]
		if p.o.TaskTimeout == 0 || f.cause != nil || f.since.IsZero() {
			continue
		}
		p.due(f.since.Add(p.o.TaskTimeout), now, func() {
			if !h.tx.Taken(f.at) && (p.outbox != nil || !p.once && f.task.pool.untaken < maxUntaken) {
				p.takesNothing(h, now)
				return
			}
			lates = append(lates, late{f.task, &TimeoutError{Task: f.task.Func(), Timeout: p.o.TaskTimeout}})
		})
	}
	p.reconcile(now)
	p.mu.Unlock()
	for _, l := range lates {
		l.t.cancel(l.cause)
	}
}

// maxUntaken is how many workers may be ended because they do not take one task.
const maxUntaken = 3

// takesNothing ends a worker that has not even taken its first call; those it has go to
// others. If it takes the first at this very moment, that one's time begins now. Called with
// mu held.
func (p *pool) takesNothing(h *host, now time.Time) {
	switch {
	case p.outbox == nil: // it may be what takes so long to get there
		h.flights[0].task.pool.untaken++
		h.kill()
	case p.takeBack(h, 0):
		h.kill()
	default:
		p.becameHead(h, func() time.Time { return now })
	}
	p.feedAll()
}

// endLate kills a worker for a call whose grace is over. It reports whether calls are
// left. Called with mu held.
func (p *pool) endLate(h *host, now time.Time) (left bool) {
	for i := 0; i < len(h.flights); i++ {
		p.due(h.flights[i].killAt, now, func() { p.killFor(h, i) })
	}
	return len(h.flights) > 0
}

// due does something whose time has come, or makes sure that it is looked at then.
// Called with mu held.
func (p *pool) due(at, now time.Time, do func()) {
	switch {
	case at.IsZero():
	case now.Before(at):
		p.wakeBy(at)
	default:
		do()
	}
}

// shrink ends a worker that has been idle for too long. Called with mu held.
func (p *pool) shrink(h *host, now time.Time) {
	serving := 0
	for _, x := range p.hosts {
		if x.state == hostServing {
			serving++
		}
	}
	if serving > p.o.MinWorkers {
		p.tellToQuit(h, now)
	}
}
