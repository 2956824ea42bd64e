package brood

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
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

	conn    *link.Conn
	ways    *link.Host
	tx      link.Sender   // Append2 under mu
	rx      link.Receiver // the reader's alone
	crash   *os.File
	tail    *tailWriter     // of its output, nil unless it is captured
	lines   []*prefixWriter // of its output, with OutputPrefix; set before the start
	logs    backlog         // its records for the LogHandler
	dropped int             // records for which there was no room; the control goroutine's alone
	head    [wire.RequestSize]byte

	state     hostState
	proc      process
	pid       int
	began     time.Time
	readyAt   time.Time
	flights   []flight // calls in its ring, in order
	assigned  int
	served    int
	idleSince time.Time
	killAt    time.Time // whatever it does
	killed    bool      // by its pool
	killSent  bool      // and the process was there to be killed
	full      bool      // a call did not fit into its ring; until it says that there is room
	usedUp    bool      // hostRetiring because it has MaxTasks
	revoked   int       // calls that were cancelled in its ring; until it says that it is behind them
	reader    readerRole
	garbled   bool // the reader's: what it wrote makes no sense
	kick      chan struct{}

	ended    *child.Report
	eof      bool
	eofCh    chan struct{} // closed with eof
	gone     atomic.Bool   // both
	goneCh   chan struct{} // closed with gone
	slotFree bool          // its whole tree is gone
	freed    chan struct{} // closed with slotFree
	buried   bool
	launched chan struct{} // closed once it runs or never will
	over     chan struct{} // closed once it is buried
	startErr error         // why it could not be made ready
	fault    error         // what it wrote that it never should
	stage    string
}

// process is what a pool wants of a worker's process: a child.Proc, or where there is
// none a child.Portable.
type process interface {
	PID() int
	Kill(child.Reason)
	Signal(syscall.Signal) error
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

// hasRoom reports whether the worker gets another call. One that is on its way out
// gets none: it would take the call along.
func (h *host) hasRoom() bool {
	if h.state != hostServing || h.killed || h.eof || h.ended != nil {
		return false
	}
	if h.pool.outbox == nil || h.pool.order != nil { // what was sent can't be taken back, or is to wait for its turn
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

// kill ends the process, once: now, or as soon as it is known.
func (h *host) kill() {
	h.killed = true
	if h.proc != nil && !h.killSent {
		h.killSent = true
		h.proc.Kill(child.Cancelled)
	}
}

// cancelRemote ends a call's context in the worker.
func (h *host) cancelRemote(id uint64, why error) {
	body := append(binary.LittleEndian.AppendUint64(nil, id), 0)
	if why == context.DeadlineExceeded {
		body[8] = 1
	}
	h.conn.Post(link.Message{Type: link.Cancel, Body: body})
}

// spawn starts the process of a new host. Called with mu held; what takes time
// happens on the slot's thread.
func (p *pool) spawn(now time.Time) {
	p.made++
	h := &host{pool: p, name: fmt.Sprintf("%s-%d", p.o.Name, p.made), token: rand.Text(), began: now, kick: make(chan struct{}, 1), eofCh: make(chan struct{}), goneCh: make(chan struct{}), freed: make(chan struct{}), launched: make(chan struct{}), over: make(chan struct{}), stage: "start"}
	if p.once {
		h.name = p.o.Name
	}
	h.logs.what, h.logs.do = "PoolOptions.LogHandler", h.replay
	h.killAt = now.Add(p.o.StartTimeout)
	p.wakeBy(h.killAt)
	p.hosts = append(p.hosts, h)
	if p.once {
		p.only = h
	}
	if p.o.portable {
		go h.live(func(spec *child.Spec, started func(process)) (child.Report, error) {
			return child.RunPortable(spec, func(c *child.Portable) { started(c) })
		}, nil)
		return
	}
	go inSlot(func(slot *child.Slot, err error) {
		h.live(func(spec *child.Spec, started func(process)) (child.Report, error) {
			return slot.Run(spec, func(c *child.Proc) { started(c) })
		}, err)
	})
}

// live is the life of the process, on its slot's thread, where run starts it and
// returns when it has ended; the error is that of opening the slot.
func (h *host) live(run func(*child.Spec, func(process)) (child.Report, error), err error) {
	p := h.pool
	var rep child.Report
	var spec *child.Spec
	var given []*os.File
	if err == nil {
		spec, given, err = h.prepare()
	}
	if err == nil {
		spec.LeaderEnded = h.leaderEnded
		rep, err = run(spec, func(proc process) {
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
	close(h.freed)
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
		out, err := newPrefixWriter(os.Stdout, &stdoutMu, prefix, h.wakeSlot), newPrefixWriter(os.Stderr, &stderrMu, prefix, h.wakeSlot)
		if h.pool.o.portable {
			out.ended, err.ended = h.eofCh, h.eofCh
		}
		spec.Stdout, spec.Stderr = out, err
		h.lines = []*prefixWriter{out, err}
	case OutputCapture:
		h.tail = &tailWriter{}
		spec.Stdout, spec.Stderr = h.tail, h.tail
	}
}

// wakeSlot has the slot ask again whether its writers are full.
func (h *host) wakeSlot() {
	h.pool.mu.Lock()
	proc := h.proc
	h.pool.mu.Unlock()
	if p, ok := proc.(interface{ Wake() }); ok {
		p.Wake()
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
				h.log(m.Body)
			}
		default:
			h.ways.Deliver(&m)
		}
	}
	h.logDropped()
	close(h.eofCh)
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
		rec.InitKind, rec.InitArg = p.initKind, p.initArg
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
	close(h.goneCh)
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
