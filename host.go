package brood

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/brood-go/brood/internal/child"
	"github.com/brood-go/brood/internal/link"
	"github.com/brood-go/brood/internal/wire"
)

// host is one worker process, seen by its parent: from the decision to start it
// until it is gone. What is not said to be otherwise is guarded by the pool's mu.
//
// A worker is over when two things are known: that its leader has ended (from the
// slot's thread) and that its connection is at end-of-file (from the control
// goroutine). Then nothing that it has committed can still be under way, and it is
// buried: what it committed is delivered, the call that it had taken ends with the
// reason of its death, and the calls that it had not taken go to others.
type host struct {
	pool  *pool
	name  string
	token string

	conn  *link.Conn
	ways  *link.Host
	tx    link.Sender   // Append2 under mu
	rx    link.Receiver // the reader's alone
	crash *os.File
	tail  *tailWriter     // of its output, nil unless it is captured
	lines []*prefixWriter // of its output, with OutputPrefix; the slot's thread's alone
	head  [wire.RequestSize]byte

	state     hostState
	proc      *child.Proc
	pid       int
	began     time.Time
	flights   []flight // calls in its ring, in order
	assigned  int
	served    int
	idleSince time.Time
	killAt    time.Time // whatever it does
	killed    bool
	reader    readerRole
	kick      chan struct{}

	ended    *child.Report
	eof      bool
	gone     atomic.Bool // both
	slotFree bool        // its whole tree is gone
	buried   bool
	launched chan struct{} // closed once it runs or never will
	over     chan struct{} // closed once it is buried
	startErr error         // why it could not be made ready
	stage    string
}

// flight is a call in the ring of a worker.
type flight struct {
	task   *Task
	id     uint64
	at     uint64    // in the ring
	since  time.Time // when it became the first one
	cause  error     // why it is to end
	killAt time.Time // end of the grace
}

// hostState is where a worker is in its life.
type hostState int

const (
	hostStarting hostState = iota
	hostSpare              // ready, and waits to take a place
	hostServing
	hostRetiring // gets no more calls; ends after those it has
	hostQuitting // was told to exit
	hostDead
)

// readerRole says who reads a worker's outcomes.
type readerRole int

const (
	readerNone readerRole = iota
	readerLoop            // its goroutine
	readerCall            // a synchronous Call
	readerBury            // who buries it
)

func (h *host) hasRoom() bool {
	if h.state != hostServing {
		return false
	}
	if h.pool.outbox == nil { // what was sent can't be taken back
		return len(h.flights) == 0
	}
	return len(h.flights) < prefetch
}

// describe is the state for Stats.
func (h *host) describe() string {
	switch {
	case h.state == hostStarting:
		return "starting"
	case h.state == hostSpare:
		return "spare"
	case h.state >= hostQuitting:
		return "ending"
	case len(h.flights) > 0:
		return "busy"
	}
	return "idle"
}

// claimReader makes the caller, or the goroutine, the reader if there is none.
func (h *host) claimReader(role readerRole) bool {
	if h.reader != readerNone || len(h.flights) == 0 {
		return false
	}
	h.reader = role
	return true
}

// kill ends the process, now or as soon as it is known.
func (h *host) kill() {
	h.killed = true
	if h.proc != nil {
		h.proc.Kill(child.Cancelled)
	}
}

// cancelRemote ends a call's context in the worker.
func (h *host) cancelRemote(id uint64) {
	if h.conn != nil {
		h.conn.Post(link.Message{Type: link.Cancel, Body: binary.LittleEndian.AppendUint64(nil, id)})
	}
}

// spawn starts the process of a new host. Called with mu held; what takes time
// happens on the slot's thread.
func (p *pool) spawn(now time.Time) {
	p.made++
	h := &host{pool: p, name: fmt.Sprintf("%s-%d", p.o.Name, p.made), token: rand.Text(), began: now, kick: make(chan struct{}, 1), launched: make(chan struct{}), over: make(chan struct{}), stage: "start"}
	if p.once {
		h.name = p.o.Name
	}
	h.killAt = now.Add(p.o.StartTimeout)
	p.wakeBy(h.killAt)
	p.hosts = append(p.hosts, h)
	go inSlot(h.live)
}

// live is the life of the process, on its slot's thread; the error is that of
// opening the slot.
func (h *host) live(slot *child.Slot, err error) {
	p := h.pool
	var rep child.Report
	var spec *child.Spec
	var given []*os.File
	if err == nil {
		spec, given, err = h.prepare()
	}
	if err == nil {
		spec.LeaderEnded = h.leaderEnded
		rep, err = slot.Run(spec, func(proc *child.Proc) {
			closeAll(given)
			p.mu.Lock()
			h.proc, h.pid, h.stage = proc, proc.PID(), "handshake"
			if h.killed {
				h.kill()
			}
			p.mu.Unlock()
			close(h.launched)
			go h.control()
		})
		if err != nil {
			closeAll(given)
		}
		h.flushLines()
	}
	p.mu.Lock()
	h.slotFree = true
	if h.buried {
		p.forget(h)
	}
	p.mu.Unlock()
	if err != nil { // there never was a process
		p.mu.Lock()
		h.startErr, h.eof = err, true
		p.mu.Unlock()
		close(h.launched)
		h.leaderEnded(rep)
	}
}

func closeAll(fs []*os.File) {
	for _, f := range fs {
		f.Close()
	}
}

// prepare makes what the process inherits. What is given away is to be closed here
// once it is inherited.
func (h *host) prepare() (spec *child.Spec, given []*os.File, err error) {
	p := h.pool
	conn, far, err := link.Pair()
	if err != nil {
		return nil, nil, err
	}
	crash, err := child.Scratch("brood-crash")
	if err != nil {
		conn.Close()
		far.Close()
		return nil, nil, err
	}
	ways, rings, err := link.NewHost(conn, p.outbox)
	if err != nil {
		conn.Close()
		closeAll([]*os.File{far, crash})
		return nil, nil, err
	}
	files := []*os.File{far, crash}
	given = files[:1]
	if rings != nil {
		files = append(files, rings)
		given = []*os.File{far, rings}
	}
	p.mu.Lock()
	h.conn, h.ways, h.crash, h.tx, h.rx = conn, ways, crash, ways.Sender(), ways.Receiver()
	p.mu.Unlock()
	hs := handshake{token: h.token, depth: depth() + 1, rings: rings != nil}
	spec = &child.Spec{
		Path: child.Executable(), Args: os.Args, Env: append(os.Environ(), hs.variable()),
		ExtraFiles: files, Memory: p.o.Memory,
		Stop:   []child.Step{{Signal: syscall.SIGKILL}},
		Linger: -1, // what a dead worker leaves behind ends with it
	}
	h.output(spec)
	return spec, given, nil
}

// output says where the process writes to.
func (h *host) output(spec *child.Spec) {
	switch h.pool.o.Output {
	case OutputInherit:
		spec.Stdout, spec.Stderr = os.Stdout, os.Stderr
	case OutputPrefix:
		prefix := "[" + h.name + "] "
		h.lines = []*prefixWriter{{to: os.Stdout, prefix: prefix}, {to: os.Stderr, prefix: prefix}}
		spec.Stdout, spec.Stderr = h.lines[0], h.lines[1]
	case OutputCapture:
		h.tail = &tailWriter{}
		spec.Stdout, spec.Stderr = h.tail, h.tail
	}
}

// flushLines writes what the process has not ended with a newline.
func (h *host) flushLines() {
	for _, w := range h.lines {
		w.flush()
	}
}

// control receives the worker's messages until its end-of-file.
func (h *host) control() {
	p := h.pool
	for {
		m, err := h.conn.Receive()
		if err != nil {
			break
		}
		switch m.Type {
		case link.Hello:
			h.receive(m.Body)
		case link.Ready:
			p.ready(h)
		case link.InitFailed:
			p.mu.Lock()
			h.startErr, h.stage = decodeError(m.Body), "initializer"
			p.mu.Unlock()
		case link.Log:
			if p.o.LogHandler != nil {
				replay(p.o.LogHandler, m.Body, h.name, h.pid)
			}
		default:
			h.ways.Deliver(&m)
		}
	}
	p.mu.Lock()
	h.eof = true
	if h.ended == nil && h.killAt.IsZero() { // it lives on without a connection: it is of no use
		h.killAt = time.Now().Add(time.Second)
		p.wakeBy(h.killAt)
	}
	p.mu.Unlock()
	h.checkGone()
}

// receive answers a greeting.
func (h *host) receive(b []byte) {
	p := h.pool
	var g greeting
	rec := reception{Name: h.name, Once: p.once, Parent: p.parent, Logs: p.o.LogHandler != nil, MaxPayload: p.o.MaxPayload}
	if err := wire.Unmarshal(b, &g); err != nil {
		rec.Refused = err.Error()
	} else {
		rec.Refused = g.check(h.token)
	}
	var err error
	if rec.Refused != "" {
		err = errors.New("the worker was refused: " + rec.Refused)
	} else if init := p.o.Initializer; init != nil {
		rec.HasInit, rec.Init = true, init.entry.index
		rec.InitKind, rec.InitArg, err = init.encode()
	}
	p.mu.Lock()
	if err != nil {
		h.startErr = err
		h.kill()
	} else if init := p.o.Initializer; init != nil {
		h.stage = "initializer"
	}
	p.mu.Unlock()
	if msg, merr := wire.Marshal(&rec); merr == nil {
		h.conn.Post(link.Message{Type: link.Welcome, Body: msg})
	}
}

// leaderEnded is called on the slot's thread when the process has ended.
func (h *host) leaderEnded(rep child.Report) {
	h.flushLines() // who joins it finds its last words written
	h.pool.mu.Lock()
	h.ended = &rep
	h.pool.mu.Unlock()
	if h.conn != nil {
		h.conn.Expire(250 * time.Millisecond) // if something that it started holds its end open
	}
	h.checkGone()
}

// checkGone makes the reader bury a worker that is over, or buries it.
func (h *host) checkGone() {
	p := h.pool
	p.mu.Lock()
	if h.ended == nil || !h.eof || h.gone.Load() {
		p.mu.Unlock()
		return
	}
	h.gone.Store(true)
	mine := h.reader == readerNone
	if mine {
		h.reader = readerBury
	} else {
		h.ways.Retain() // the reader may be faster, and bury it
	}
	p.mu.Unlock()
	if mine {
		h.bury()
		return
	}
	h.rx.Wake()
	h.ways.Release()
}

// ring wakes the worker. The caller has retained its ways under mu.
func (h *host) ring() {
	h.tx.Ring()
	h.ways.Release()
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
		if !t.settled.Load() && ctx.Err() == nil {
			continue
		}
		p := h.pool
		p.mu.Lock()
		if h.gone.Load() {
			p.mu.Unlock()
			continue // and bury it
		}
		more := len(h.flights) > 0
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
	h.rx.Wait(link.Spin, stop)
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
	if len(h.flights) > 0 || h.gone.Load() {
		return true
	}
	h.reader = readerNone
	return false
}

// drain delivers the outcomes that are there. Only the reader calls it.
func (h *host) drain() {
	wake := false
	for {
		frame, ok, err := h.rx.Next()
		if err != nil {
			h.corrupt(err)
			break
		}
		if !ok {
			break
		}
		res, body, err := wire.ParseResponse(frame)
		if err != nil {
			h.corrupt(err)
			break
		}
		fed, ok := h.deliver(&res, body)
		wake = wake || fed
		if !ok {
			break
		}
	}
	if wake {
		h.tx.Ring()
	}
}

// corrupt ends a worker that wrote what it never should.
func (h *host) corrupt(err error) {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	h.startErr = err
	h.kill()
}

// deliver settles the call that an outcome is of, and gives the worker the next ones.
// body is in the ring, whose room is given back.
func (h *host) deliver(res *wire.Response, body []byte) (fed, ok bool) {
	p := h.pool
	p.mu.Lock()
	if len(h.flights) == 0 || h.flights[0].id != res.ID {
		p.mu.Unlock()
		h.corrupt(fmt.Errorf("brood: worker %d sent an outcome for a call that it does not run", h.pid))
		h.rx.Release()
		return false, false
	}
	f := h.flights[0]
	n := copy(h.flights, h.flights[1:])
	h.flights[n] = flight{}
	h.flights = h.flights[:n]
	h.served++
	if n > 0 {
		p.becameHead(h, time.Now)
	}
	fed = p.feed(h)
	if len(h.flights) == 0 {
		p.becameIdle(h)
	}
	p.mu.Unlock()

	t := f.task
	if res.Status == wire.Failed {
		err := decodeError(body)
		h.rx.Release()
		p.fail(t, &f, err)
		return fed, true
	}
	raw := &t.pool.raw
	raw.kind = res.Kind
	switch {
	case res.Where == wire.Apart:
		raw.apart = h.ways.Keep(body)
	case len(body) <= len(t.pool.small):
		raw.bytes = append(t.pool.small[:0], body...)
	default:
		raw.bytes = append([]byte(nil), body...)
	}
	h.rx.Release()
	t.resolve(raw)
	p.checkDrained()
	return fed, true
}

// fail settles a task whose function returned an error, or runs it again.
func (p *pool) fail(t *Task, f *flight, err error) {
	p.mu.Lock()
	if f.cause == nil && t.body.fn().idempotent && int(t.pool.errors) < p.o.ErrorRetries && !p.closing && p.broken == nil {
		t.pool.errors++
		p.requeue(t)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	t.fail(t.explain(err))
	p.checkDrained()
}

// requeue puts a task where it is taken next, and gives it out if a worker has room.
// Called with mu held.
func (p *pool) requeue(t *Task) {
	p.queue.pushFront(t)
	p.queued++
	p.feedAll()
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

// outcome says what a call that died with its worker ends with.
func (h *host) outcome(f *flight) error {
	task := f.task.Func()
	died := h.died(task)
	if timeout := (*TimeoutError)(nil); errors.As(f.cause, &timeout) {
		return &TimeoutError{Task: task, Timeout: timeout.Timeout, Killed: true}
	}
	if f.cause != nil {
		return fmt.Errorf("%w: %w", f.cause, died)
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
