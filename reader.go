package brood

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/brood-go/brood/internal/link"
	"github.com/brood-go/brood/internal/wire"
)

// readerRole says who reads a worker's outcomes.
type readerRole int

const (
	readerNone readerRole = iota
	readerLoop            // its goroutine
	readerCall            // a synchronous Call
	readerBury            // who buries it
)

// claimReader makes the caller, or the goroutine, the reader if there is none.
func (h *host) claimReader(role readerRole) bool {
	if h.reader != readerNone || len(h.flights) == 0 {
		return false
	}
	h.reader = role
	return true
}

// ring wakes the worker. The caller has retained its ways under mu.
func (h *host) ring() {
	h.tx.Ring()
	h.ways.Release()
}

// begin wakes the worker, and its reader if that is told so. The caller has retained its
// ways under mu.
func (h *host) begin(kick bool) {
	h.ring()
	if kick {
		h.kick <- struct{}{}
	}
}

// readLoop is the worker's reader, whenever it is kicked.
func (h *host) readLoop() {
	for range h.kick {
		for h.readSome(h.gone.Load) {
		}
	}
}

// readFor reads as long as the outcome of t is awaited.
func (h *host) readFor(ctx context.Context, t *Task) {
	stop := func() bool { return h.gone.Load() || t.settled.Load() || ctx.Err() != nil }
	for h.readSome(stop) {
		p := h.pool
		ended := ctx.Err() != nil
		p.mu.Lock()
		if h.gone.Load() || t.pool.host == h && !t.settled.Load() && !ended {
			p.mu.Unlock()
			continue // to wait, or to bury it
		}
		more := h.isAwaited()
		h.reader = readerNone
		if more {
			h.reader = readerLoop
		}
		p.mu.Unlock()
		if more {
			h.kick <- struct{}{}
		}
		return
	}
}

// readSome waits for outcomes and delivers those that are there. It returns false
// when the caller is the reader no more: because no call is in flight, or because the
// worker is over, and is now buried.
func (h *host) readSome(stop func() bool) bool {
	if h.garbled {
		<-h.goneCh // it was killed, and has nothing to say that would be believed
	} else {
		h.rx.Wait(link.Spin, stop)
	}
	over := h.gone.Load() // before the rings are looked at: what was committed is there then
	h.drain()
	p := h.pool
	if over {
		p.mu.Lock()
		h.reader = readerBury
		p.mu.Unlock()
		h.bury()
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.gone.Load() || h.isAwaited() {
		return true
	}
	h.reader = readerNone
	return false
}

// isAwaited reports whether the worker has something to say that matters: outcomes,
// or that it is behind what was taken back. That is when calls may be put in which did not
// fit, and taken from others. Called with mu held.
func (h *host) isAwaited() bool {
	return len(h.flights) > 0 || h.revoked > 0 || h.full && h.pool.queued > 0
}

// drain delivers the outcomes that are there. Only the reader calls it. Behind what
// makes no sense nothing is believed any more.
func (h *host) drain() {
	wake := false
	for !h.garbled {
		frame, ok, err := h.rx.Next()
		if err != nil {
			h.corrupt(err)
			break
		}
		if !ok {
			break
		}
		res, body, err := wire.ParseResponse(frame)
		if err == nil && res.Where == wire.Apart && h.pool.outbox == nil {
			err = errors.New("brood: an outcome is said to be in shared memory, but there is none")
		}
		if err != nil {
			h.rx.Release()
			h.corrupt(err)
			break
		}
		if res.Status == wire.Room {
			h.rx.Release()
			wake = h.hasRoomAgain() || wake
			continue
		}
		wake = h.deliver(&res, body) || wake
	}
	if wake {
		h.tx.Ring()
	}
}

// hasRoomAgain feeds a worker that has stepped over calls which were taken back.
func (h *host) hasRoomAgain() (fed bool) {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	h.full, h.revoked = false, 0
	return h.pool.feed(h)
}

// corrupt ends a worker that wrote what it never should. Only the reader calls it.
func (h *host) corrupt(err error) {
	h.garbled = true
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	h.fault = err
	h.kill()
}

// deliver settles the call that an outcome is of, and gives the worker the next ones.
// body is in the ring, whose room is given back. It reports whether the worker is to
// be woken.
func (h *host) deliver(res *wire.Response, body []byte) (fed bool) {
	p := h.pool
	p.mu.Lock()
	if len(h.flights) == 0 || h.flights[0].id != res.ID {
		p.mu.Unlock()
		h.corrupt(fmt.Errorf("brood: worker %d sent an outcome for a call that it does not run", h.pid))
		h.rx.Release()
		return false
	}
	f := h.flights[0]
	ran := time.Duration(0)
	if p.order != nil && res.Status != wire.Failed {
		ran = time.Since(f.since)
	}
	p.leaves(f.task, ran)
	h.remove(0)
	h.served++
	h.full, h.revoked = false, 0
	if h.served == 1 {
		p.failures, p.retryAt = 0, time.Time{}
	}
	if len(h.flights) > 0 {
		p.becameHead(h, time.Now)
	}
	fed = p.feed(h)
	if len(h.flights) == 0 {
		p.becameIdle(h)
	}
	p.mu.Unlock()

	t := f.task
	if res.Status == wire.Failed {
		if res.Where == wire.Apart { // to read it may mean to wait for its memory
			kept := h.ways.Keep(body)
			h.rx.Release()
			go func() { p.fail(t, &f, h.remoteError(kept)) }()
			return fed
		}
		err := decodeError(body)
		h.rx.Release()
		p.fail(t, &f, err)
		return fed
	}
	raw := &t.pool.raw
	raw.kind = res.Kind
	switch {
	case res.Where == wire.Apart:
		raw.slow = &slowResult{apart: h.ways.Keep(body)}
	case len(body) <= len(t.pool.small):
		raw.bytes = append(t.pool.small[:0], body...)
	default:
		raw.bytes = append([]byte(nil), body...)
	}
	h.rx.Release()
	t.letGo()
	t.resolve(raw)
	p.settling.Add(-1)
	p.checkDrained()
	return fed
}

// remoteError is an error that came in memory of its own.
func (h *host) remoteError(kept *link.Kept) error {
	defer kept.Release()
	b, err := kept.Bytes()
	if err != nil {
		return fmt.Errorf("brood: a long error came from process %d, but it can't be read: %w", h.pid, err)
	}
	return decodeError(b)
}

// fail settles a task whose function returned an error, or runs it again.
func (p *pool) fail(t *Task, f *flight, err error) {
	p.mu.Lock()
	if f.cause == nil && t.body.fn().idempotent && int(t.pool.errors) < p.o.ErrorRetries && !p.closing && p.broken == nil && !t.isCancelled() {
		t.pool.errors++
		p.runAgain(t)
		p.settling.Add(-1)
		p.feedAll()
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	t.letGo()
	t.fail(t.explain(err))
	p.settling.Add(-1)
	p.checkDrained()
}

// feedAll gives out what waits. Called with mu held.
func (p *pool) feedAll() {
	for _, h := range p.hosts {
		if h.hasRoom() && p.feed(h) {
			kick := h.claimReader(readerLoop)
			h.tx.Ring()
			if kick {
				h.kick <- struct{}{} // it has room for one, and there is no other
			}
		}
	}
}
