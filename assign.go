package brood

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/brood-go/brood/internal/link"
	"github.com/brood-go/brood/internal/waits"
	"github.com/brood-go/brood/internal/wire"
)

// payload is an encoded argument, and what else prepare finds out.
type payload struct {
	kind     wire.Kind
	priority int32 // by WithPriority, if the pool has a policy; here it takes no more memory
	inline   []byte
	held     *link.Held // in memory of its own; nil for inline
}

// letGo lets go of the encoded argument, once nobody runs the task any more. Whoever is
// about to settle it for the pool calls it: then it is neither in the queue nor in a ring.
func (t *Task) letGo() {
	y := &t.pool.payload
	if y.held != nil {
		y.held.Release()
	}
	*y = payload{}
}

// prepare encodes the argument. The bytes no longer depend on the caller's.
func (p *pool) prepare(t *Task) error {
	y := &t.pool.payload
	k, b, err := t.body.encode()
	if err != nil {
		return encodingError(t.body.fn(), "argument", err)
	}
	if int64(len(b)) > p.o.MaxPayload {
		return fmt.Errorf("%w: the argument of %s has %d bytes, PoolOptions.MaxPayload is %d", ErrTooLarge, t.Func(), len(b), p.o.MaxPayload)
	}
	y.kind, y.inline = k, b
	if d, ok := t.ctx.parent.Deadline(); ok {
		t.ctx.deadline = d // the user's code is not asked again
	}
	if p.order != nil {
		y.priority = priorityOf(t.ctx.parent)
	}
	if p.outbox != nil && len(b) >= link.Large {
		if y.held, err = p.outbox.Hold(b); err != nil {
			return fmt.Errorf("brood: the argument of %s has %d bytes: %w", t.Func(), len(b), err)
		}
		y.inline = nil
	} else if k == wire.Bytes {
		y.inline = slices.Clone(b)
	}
	return nil
}

// take prepares a task and gives it to a worker or queues it.
func (p *pool) take(t *Task) error {
	h, kick, err := p.accept(t, readerLoop)
	if h != nil {
		h.begin(kick)
	}
	return err
}

// accept prepares a task and gives it to a worker, whose ways the caller releases, or
// queues it. It reports whether the caller has to see to it that the worker is read, in
// the role given. With an error the task was not taken, and is as it was.
func (p *pool) accept(t *Task, role readerRole) (h *host, mine bool, err error) {
	failed := p.prepare(t)
	p.mu.Lock()
	if err := p.refuse(); err != nil {
		p.mu.Unlock()
		t.letGo()
		return nil, false, err
	}
	if failed != nil { // that is its outcome
		p.mu.Unlock()
		t.fail(failed)
		return nil, false, nil
	}
	t.body.dropArg()
	h = p.assign(t)
	another := p.order != nil && h != nil && t.pool.host != h // it was the turn of another one
	if another {
		role = readerLoop
	}
	mine = h != nil && h.claimReader(role)
	p.mu.Unlock()
	if another {
		h.begin(mine)
		h, mine = nil, false
	}
	t.enter(p)
	return h, mine, nil
}

// callDirect implements direct: if there is an idle worker, the caller reads its
// outcomes until its own is there.
func (p *pool) callDirect(ctx context.Context, t *Task) {
	if err := p.gate.pass(ctx); err != nil {
		t.fail(err)
		return
	}
	h, mine, err := p.accept(t, readerCall)
	p.gate.took(t, err)
	if err != nil {
		t.fail(err)
	}
	if h == nil {
		return // the caller waits for the future
	}
	h.ring()
	if mine {
		w, err := awaits(ctx, t)
		if err != nil {
			ctx = ended // the wait for the future will say why
		}
		sleep, stop := w.Context(ctx), func() bool { return true }
		if sleep != ctx {
			stop = context.AfterFunc(sleep, func() { p.wakeCaller(t) })
		}
		h.readFor(sleep, t)
		stop()
		w.End()
	}
}

// refuse says why no more tasks are taken. Called with mu held.
func (p *pool) refuse() error {
	if p.closing || p.draining.Load() {
		return ErrClosed
	}
	return p.broken
}

// assign puts a task into a worker's ring and returns the worker, whose ways the
// caller releases, or queues it and returns nil. With a policy it may be another task
// that is put there. Called with mu held.
func (p *pool) assign(t *Task) (h *host) {
	t.tally = &p.tally
	switch {
	case p.order != nil:
		p.enqueue(t)
		h = p.placeNext()
	case p.queued == 0:
		h = p.place(t)
	}
	if h == nil {
		if p.order == nil {
			p.enqueue(t)
		}
		if p.o.IdleTimeout > 0 || p.once {
			p.reconcile(time.Now())
		}
		return nil
	}
	if h.state != hostServing || p.o.IdleTimeout > 0 && (len(h.flights) > 1 || p.queued > 0) {
		p.reconcile(time.Now()) // that was its last one; more workers are of use
	}
	h.ways.Retain()
	return h
}

// placeNext is place for the task whose turn it is. Called with mu held.
func (p *pool) placeNext() *host {
	if p.leastBusy() == nil {
		return nil
	}
	t := p.next()
	if t == nil {
		return nil
	}
	h := p.place(t)
	if h == nil {
		p.enqueueFront(t)
	}
	return h
}

// place puts a task into the ring of the least busy worker that has room for it, nil
// if none has. Called with mu held.
func (p *pool) place(t *Task) *host {
	best := p.leastBusy()
	if best == nil || p.put(best, t) {
		return best
	}
	for _, h := range p.hosts { // its ring is full of calls that were taken back
		if h != best && h.hasRoom() && p.put(h, t) {
			return h
		}
	}
	return nil
}

// leastBusy is the serving worker with the fewest calls, nil if all have as many as
// they may. Calls that were taken back count until the worker has stepped over them: it
// may be one that takes none. Called with mu held.
func (p *pool) leastBusy() *host {
	var best *host
	for _, h := range p.hosts {
		if !h.hasRoom() {
			continue
		}
		if len(h.flights) == 0 && h.revoked == 0 {
			return h
		}
		if best == nil || len(h.flights)+h.revoked < len(best.flights)+best.revoked {
			best = h
		}
	}
	return best
}

// put puts a call into the ring of h, without waking it; false if it is full. Called
// with mu held.
func (p *pool) put(h *host, t *Task) bool {
	y := &t.pool.payload
	files, _ := t.pool.parcel.travels()
	if n := len(files); n > 0 && len(h.flights) > 0 && h.carries()+n > link.MaxPass {
		return false // they would take descriptors that the calls before need
	}
	p.nextID++
	req := wire.Request{ID: p.nextID, Func: t.body.fn().index, Kind: y.kind, Files: uint8(len(files))}
	if d := t.ctx.deadline; !d.IsZero() {
		req.Deadline = d.UnixNano()
	}
	if waits.Armed() {
		req.Tag = t.tag()
	}
	body := y.inline
	if y.held != nil {
		req.Where = wire.Apart
		body = h.ways.Introduce(y.held)
	}
	at, ok := h.tx.Append2(req.Append(h.head[:0]), body)
	if !ok {
		p.noRoom(h)
		return false
	}
	h.sendFiles(req.ID, files)
	t.pool.host = h
	h.flights = append(h.flights, flight{task: t, id: req.ID, at: at})
	h.assigned++
	if len(h.flights) == 1 {
		p.becameHead(h, time.Now)
	}
	if p.o.MaxTasks > 0 && h.assigned >= p.o.MaxTasks {
		h.state, h.usedUp = hostRetiring, true
	}
	return true
}

// noRoom is called when a call does not fit into a ring. Most of what fills it may have
// been taken back, and to that there is no answer: so somebody has to read what the worker
// says of its room. Called with mu held.
func (p *pool) noRoom(h *host) {
	if err := h.tx.Err(); err != nil {
		h.fault = err
		h.kill()
		return
	}
	h.full = true
	if h.reader == readerNone {
		h.reader = readerLoop
		h.kick <- struct{}{} // it has room for one, and there is no other
	}
}

// remove takes a call out of a worker's books. Called with mu held.
func (h *host) remove(i int) {
	h.flights[i].task.pool.host = nil
	h.flights = slices.Delete(h.flights, i, i+1) // and what is behind the last is cleared
}

// unassign takes a call out of the books that was taken back: one of MaxTasks is free
// again, and the worker serves on if there are not as many as there should be. Called with
// mu held.
func (p *pool) unassign(h *host, i int) {
	h.dropFiles(h.flights[i])
	h.remove(i)
	h.assigned--
	if !h.usedUp || h.state != hostRetiring {
		return
	}
	h.usedUp = false
	places := 1
	for _, x := range p.hosts {
		if x != h && (x.state == hostServing || x.state == hostRetiring && len(x.flights) > 0) {
			places++
		}
	}
	if places <= p.want {
		h.state = hostServing
	}
}

// takeBack takes back the calls from number from on, the last one first, as long as the
// worker has not taken them, and puts them where they are taken next. It reports whether
// all of them were taken back. Called with mu held.
func (p *pool) takeBack(h *host, from int) bool {
	n := len(h.flights)
	for len(h.flights) > from {
		last := len(h.flights) - 1
		t := h.flights[last].task
		if !h.tx.Revoke(h.flights[last].at) {
			break
		}
		p.unassign(h, last)
		p.enqueueFront(t)
	}
	if len(h.flights) < n && h.reader == readerCall {
		h.rx.Wake() // it may wait for one of them
	}
	return len(h.flights) <= from
}

// killFor kills a worker because of call number i, and because of no other: what is
// behind it is taken back before. If that can't be done the worker has taken the next one,
// so this call has ended and its outcome is on the way. Called with mu held.
func (p *pool) killFor(h *host, i int) {
	if h.killed {
		return
	}
	if p.takeBack(h, i+1) {
		h.kill()
	}
	p.feedAll()
}

// becameHead notes since when the first call of h can run. Called with mu held.
func (p *pool) becameHead(h *host, now func() time.Time) {
	if p.o.TaskTimeout > 0 || p.order != nil {
		h.flights[0].since = now()
	}
	if p.o.TaskTimeout > 0 {
		p.wakeBy(h.flights[0].since.Add(p.o.TaskTimeout))
	}
}

// next is the oldest task that waits and was not cancelled, nil without one. With a policy
// it is the one that this chooses, but first those that had their turn and came back.
// Called with mu held.
func (p *pool) next() *Task {
	for p.queue.len() > 0 {
		if t := p.queue.pop(); t.pool.waiting {
			p.dequeued(t)
			return t
		}
		p.queue.dead--
	}
	if p.order != nil {
		if t := p.order.pop(); t != nil {
			p.dequeued(t)
			return t
		}
	}
	return nil
}

// dequeued notes that a task waits no more. Called with mu held.
func (p *pool) dequeued(t *Task) {
	t.pool.waiting = false
	p.queued--
}

// enqueue puts a task behind those that wait, or where the policy wants it. Called with
// mu held.
func (p *pool) enqueue(t *Task) {
	t.pool.waiting = true
	p.queued++
	if p.order != nil {
		p.order.push(t)
		return
	}
	p.queue.push(t)
}

// enqueueFront puts a task where it is taken next. Called with mu held.
func (p *pool) enqueueFront(t *Task) {
	p.queue.pushFront(t)
	t.pool.waiting = true
	p.queued++
}

// runAgain puts a task that has run where it is taken next, or where the policy wants it.
// Called with mu held.
func (p *pool) runAgain(t *Task) {
	if p.order == nil {
		p.enqueueFront(t)
		return
	}
	p.order.end(t, 0)
	p.enqueue(t)
}

// leaves notes that a task is in no queue and no ring any more, and has no outcome yet:
// who calls it counts settling down once it has, or runs it again. ran is how long it ran
// until it succeeded, else 0. Called with mu held.
func (p *pool) leaves(t *Task, ran time.Duration) {
	p.settling.Add(1)
	if p.order != nil {
		p.order.end(t, ran)
	}
}

// feed gives h what it has room for, from the queue, or if that is empty and h is
// idle from the worker that has most. It reports whether h is to be woken. Called
// with mu held.
func (p *pool) feed(h *host) (fed bool) {
	for h.hasRoom() {
		t := p.next()
		if t == nil {
			break
		}
		if !p.put(h, t) {
			p.enqueueFront(t)
			break
		}
		fed = true
	}
	if len(h.flights) == 0 && h.hasRoom() {
		fed = p.steal(h) || fed
	}
	return fed
}

// steal moves half of the calls that wait in the fullest ring to h, the latest
// first, so that none waits behind a long one while a worker is idle.
func (p *pool) steal(h *host) (stolen bool) {
	var from *host
	for _, v := range p.hosts {
		if len(v.flights) > 1 && (from == nil || len(v.flights) > len(from.flights)) {
			from = v
		}
	}
	if from == nil {
		return false
	}
	var taken []*Task
	for n := len(from.flights) / 2; n > 0; n-- {
		last := len(from.flights) - 1
		t := from.flights[last].task
		if !from.tx.Revoke(from.flights[last].at) {
			break
		}
		p.unassign(from, last)
		taken = append(taken, t)
	}
	for i, t := range slices.Backward(taken) {
		if !h.hasRoom() || !p.put(h, t) {
			for _, t := range taken[:i+1] { // the latest first: each goes before it
				p.enqueueFront(t)
			}
			break
		}
		stolen = true
	}
	if len(taken) > 0 && from.reader == readerCall {
		from.rx.Wake() // it may wait for one of them
	}
	return stolen
}

// cancelTask implements place. A task that is neither in the queue nor in a ring is
// in the hands of who settles it.
func (p *pool) cancelTask(t *Task, cause error) {
	p.mu.Lock()
	h := t.pool.host
	switch {
	case h != nil:
		h.ways.Retain()
		i := h.index(t)
		if !h.tx.Revoke(h.flights[i].at) {
			p.cancelFlight(h, i, cause)
			p.mu.Unlock()
			h.wakeReader() // a Call that reads for itself has to look at its context
			return
		}
		p.leaves(t, 0)
		p.takenBack(h, i)
	case t.pool.waiting:
		p.dequeued(t)
		if !p.order.holds(t) {
			p.queue.bury(func(t *Task) bool { return t.pool.waiting })
		}
		p.leaves(t, 0)
	default:
		p.mu.Unlock()
		return
	}
	if p.once {
		p.beginClose() // the process has nothing to do
	}
	p.mu.Unlock()
	t.letGo()
	t.fail(cause)
	p.settling.Add(-1)
	p.checkDrained()
	if h != nil {
		h.wakeReader() // it may be a Call that waits for this very task
	}
}

// takenBack is called when call number i was taken back for good. Its place is given to
// another when the worker says that it is behind it, or by its next outcome: it may be one
// that takes nothing. With a policy at once: then no call is behind it in the ring, whose time
// limit would tell such a worker. Called with mu held.
func (p *pool) takenBack(h *host, i int) {
	p.unassign(h, i)
	h.revoked++
	switch {
	case len(h.flights) == 0:
		p.becameIdle(h)
		if p.order != nil {
			p.feedAll()
		}
	case i == 0:
		p.becameHead(h, time.Now)
	}
}

// wakeCaller wakes a Call that reads for a task whose context has ended.
func (p *pool) wakeCaller(t *Task) {
	p.mu.Lock()
	h := t.pool.host
	if h != nil {
		h.ways.Retain()
	}
	p.mu.Unlock()
	if h != nil {
		h.wakeReader()
	}
}

// wakeReader wakes the reader. The caller has retained the worker's ways under mu.
func (h *host) wakeReader() {
	h.rx.Wake()
	h.ways.Release()
}

// index is the place of a task in the worker's ring. Called with mu held.
func (h *host) index(t *Task) int {
	return slices.IndexFunc(h.flights, func(f flight) bool { return f.task == t })
}

// cancelFlight ends the context of a call that a worker has taken, and has the
// worker killed after the grace. Called with mu held.
func (p *pool) cancelFlight(h *host, i int, cause error) {
	f := &h.flights[i]
	f.cause = cause
	f.killAt = time.Now().Add(p.o.Grace)
	if p.o.Grace <= 0 {
		p.killFor(h, i)
		return
	}
	h.cancelRemote(f.id, unwrapContext(cause))
	p.wakeBy(f.killAt)
}

// taskRuns implements place.
func (p *pool) taskRuns(t *Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := t.pool.host
	return h != nil && h.tx.Taken(h.flights[h.index(t)].at)
}
