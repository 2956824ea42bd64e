package brood

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/brood-go/brood/internal/child"
)

// outcome says what a call that died with its worker ends with.
func (h *host) outcome(f *flight) error {
	task := f.task.Func()
	died := h.died(task)
	if timeout, ok := f.cause.(*TimeoutError); ok {
		return &TimeoutError{Task: task, Timeout: timeout.Timeout, Killed: true}
	}
	if f.cause != nil {
		return &joinedError{f.cause, died}
	}
	if h.fault != nil {
		return fmt.Errorf("%w: %w", died, h.fault)
	}
	return died
}

// died describes the death.
func (h *host) died(task string) *WorkerDied {
	d := &WorkerDied{PID: h.pid, ExitCode: h.ended.Code, Signal: h.ended.Signal, Task: task, Trace: h.trace()}
	text := string(d.Trace)
	d.OutOfMemory = h.ended.Reason == child.Memory || strings.Contains(text, "out of memory") || strings.Contains(text, "cannot allocate memory")
	if h.tail != nil {
		d.Output = h.tail.bytes()
	}
	return d
}

// maxTrace is how much of a crash trace is kept.
const maxTrace = 64 << 10

// trace is what the Go runtime wrote as it crashed.
func (h *host) trace() []byte {
	if h.crash == nil {
		return nil
	}
	b, _ := io.ReadAll(io.NewSectionReader(h.crash, 0, maxTrace))
	return withHeadline(b)
}

// headlines are what the runtime's function fatal says before the trace begins to
// be copied: that goes to standard error alone, so it is told from the caller.
var headlines = []struct{ frame, line string }{
	{"internal/runtime/maps.fatal(", "fatal error: concurrent map read or write"},
	{"sync.fatal(", "fatal error: misuse of package sync"},
}

// withHeadline gives a trace that begins with its first goroutine the line in front
// that it lacks.
func withHeadline(trace []byte) []byte {
	body, headless := bytes.CutPrefix(trace, []byte("\ngoroutine "))
	if !headless {
		return trace
	}
	_, frames, _ := bytes.Cut(body, []byte("\n"))
	for _, h := range headlines {
		if bytes.Contains(firstLine(frames), []byte(h.frame)) {
			return append([]byte(h.line+"\n"), trace...)
		}
	}
	return append([]byte("fatal error (its text is on standard error)\n"), trace...)
}

func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return line
}

// bury ends the books of a worker that is over. The caller is its last reader.
func (h *host) bury() {
	p := h.pool
	if h.rx != nil {
		h.drain()
	}
	p.mu.Lock()
	failed := h.state == hostStarting
	asked := h.state == hostQuitting || h.killed
	h.state = hostDead
	ran := false
	var victims []flight
	for i := len(h.flights) - 1; i >= 0; i-- {
		f := h.flights[i]
		f.task.pool.host = nil
		taken := h.tx.Taken(f.at)
		ran = ran || taken
		switch {
		case taken && p.retryCrash(&f):
			p.runAgain(f.task)
		case taken || f.cause != nil:
			p.leaves(f.task, 0)
			victims = append(victims, f)
		default:
			p.enqueueFront(f.task)
		}
	}
	h.flights = nil
	if !failed && !p.once && h.served == 0 && !asked && !ran {
		failed = !h.killedByOthers() && time.Since(h.readyAt) < youngAge
	}
	if failed && !p.closing && p.broken == nil {
		p.startFailed(h)
	} else if !asked || len(victims) > 0 {
		p.deaths[h.reason()]++
	}
	p.reconcile(time.Now())
	p.feedAll()
	lost := p.orphans()
	broken := p.broken
	p.mu.Unlock()

	for _, f := range victims {
		f.task.letGo()
		f.task.fail(h.outcome(&f))
	}
	for _, t := range lost {
		t.letGo()
		if broken != nil {
			t.fail(broken)
		} else {
			t.fail(h.died(t.Func()))
		}
	}
	p.settling.Add(-int64(len(victims) + len(lost)))
	p.checkDrained()
	close(h.kick)
	h.close()
	if len(h.lines) > 0 || h.logs.whenIdle() != nil {
		go h.lastWords()
	} else {
		h.end()
	}
}

// lastWords waits until all that the worker has said is passed on, but not for ever: who
// is to take it may not do so, or wait for the end of this very worker.
func (h *host) lastWords() {
	enough := time.NewTimer(max(h.pool.o.Grace, 100*time.Millisecond))
	defer enough.Stop()
	if !h.saidAll(enough.C) {
		for _, w := range h.lines {
			w.giveUp()
		}
		h.wakeSlot()
	}
	h.end()
}

// saidAll waits until it is, and returns false if enough comes before.
func (h *host) saidAll(enough <-chan time.Time) bool {
	waits := []<-chan struct{}{h.logs.whenIdle()}
	if len(h.lines) > 0 {
		select {
		case <-h.freed: // nothing more comes
		case <-enough:
			return false
		}
	}
	for _, w := range h.lines {
		waits = append(waits, w.out.whenIdle())
	}
	for _, idle := range waits {
		if idle == nil {
			continue
		}
		select {
		case <-idle:
		case <-enough:
			return false
		}
	}
	return true
}

// end is the end of a worker's end.
func (h *host) end() {
	p := h.pool
	p.mu.Lock()
	h.buried = true // only now, as with the last worker the pool is closed
	if h.slotFree {
		p.forget(h)
	}
	p.mu.Unlock()
	close(h.over)
	p.checkDrained()
}

// killedByOthers reports whether somebody's SIGKILL ended the worker, not its pool's and
// not a fault of its own.
func (h *host) killedByOthers() bool {
	return h.ended.Reason == child.Signaled && h.ended.Signal == syscall.SIGKILL && !h.killed
}

// retryCrash reports whether a call that died with its worker is run again. Called
// with mu held.
func (p *pool) retryCrash(f *flight) bool {
	t := f.task
	if f.cause != nil || !t.body.fn().idempotent || int(t.pool.crashes) >= p.o.CrashRetries || p.closing {
		return false
	}
	t.pool.crashes++
	return true
}

// orphans takes the tasks out of the queue for which there will be no worker. Called
// with mu held.
func (p *pool) orphans() (lost []*Task) {
	if p.broken == nil && !p.once {
		return nil
	}
	for t := p.next(); t != nil; t = p.next() {
		p.leaves(t, 0)
		lost = append(lost, t)
	}
	if p.order != nil { // what the policy withholds, or can't be asked for
		for _, t := range p.order.waiting {
			p.dequeued(t)
			p.leaves(t, 0)
			lost = append(lost, t)
		}
	}
	return lost
}

// policyFailed breaks the pool, whose policy did what it must not: what waits can't be put
// in order. It is called with mu held, from anywhere, so what follows from it is done by a
// goroutine of its own.
func (p *pool) policyFailed(err error) {
	if p.broken != nil {
		return
	}
	p.broken = err
	go func() {
		p.mu.Lock()
		p.reconcile(time.Now())
		lost := p.orphans()
		p.mu.Unlock()
		for _, t := range lost {
			t.letGo()
			t.fail(err)
		}
		p.settling.Add(-int64(len(lost)))
		p.checkDrained()
	}()
}

// reason is a death's name in Stats.
func (h *host) reason() string {
	switch {
	case h.ended.Reason == child.Memory:
		return "out of memory"
	case h.killed:
		return "killed by its pool"
	case h.ended.Signal != 0:
		return "signal " + h.ended.Signal.String()
	}
	return fmt.Sprintf("exit code %d", h.ended.Code)
}

// forget takes a worker out of the table, once it is buried and its tree is gone.
// Called with mu held.
func (p *pool) forget(h *host) {
	p.hosts = slices.DeleteFunc(p.hosts, func(x *host) bool { return x == h })
	p.checkFinished()
}

// close closes what belonged to a worker.
func (h *host) close() {
	if h.conn != nil {
		h.conn.Close()
	}
	if h.ways != nil {
		h.ways.Close()
	}
	if h.crash != nil {
		h.crash.Close()
	}
}
