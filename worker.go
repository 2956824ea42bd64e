package brood

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/brood-go/brood/internal/atexit"
	"github.com/brood-go/brood/internal/link"
	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
	"github.com/brood-go/brood/internal/wire"
)

// workerProcess is this process, if it is a worker. Its main goroutine receives
// control messages until the parent is gone; another one takes calls, runs them one
// after another, and puts outcomes back.
//
// # Death table
//
// What the parent finds if the worker is killed after each step of a call:
//
//	call not taken       the call is whole in the ring and unmarked: it goes to another worker
//	taken (one CAS)      this call alone ends with *WorkerDied
//	outcome half written nothing: the ring's tail does not reach it; as above
//	outcome published    the outcome, whoever is woken by it
type workerProcess struct {
	conn *link.Conn
	tx   link.Sender
	rx   link.Receiver
	ways *link.Guest // the memory behind tx and rx, and that of large payloads
	rec  reception

	strand *strand.Strand
	quit   atomic.Bool

	mu        sync.Mutex
	running   *served
	cancelled map[uint64]error // why, of those cancelled before they were taken
	files     *arrivals
}

// served is a call that this worker runs.
type served struct {
	w     *workerProcess
	req   wire.Request
	ctx   taskContext
	freed bool // the argument's memory was given back
	files []*os.File
	done  func()
	head  [wire.ResponseSize]byte
}

// exit ends the process. The hooks of a build with coverage run where they have
// somewhere to write.
//
// Spaces are left first, if that is quick.
func exit(code int) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		atexit.Run()
	}()
	select {
	case <-left:
	case <-time.After(leaveTime):
	}
	if os.Getenv("GOCOVERDIR") != "" {
		os.Exit(code)
	}
	syscall.Exit(code)
}

// leaveTime bounds what a worker does before it exits. It could be held up by a stopped process.
const leaveTime = 200 * time.Millisecond

// fatal ends a worker that can't go on. What it says is for who reads its output:
// the parent learns of the death by itself.
func fatal(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "brood: worker %d: "+format+"\n", append([]any{os.Getpid()}, args...)...)
	exit(70) // EX_SOFTWARE
}

// serveWorker is the life of a worker process. It never returns.
func serveWorker(h *handshake) {
	if crash := os.NewFile(crashFD, "crash trace"); crash != nil {
		debug.SetCrashOutput(crash, debug.CrashOptions{})
		crash.Close() // the runtime has its own descriptor of it
	}
	conn, err := link.NewConn(os.NewFile(socketFD, "link"))
	if err != nil {
		fatal("%v", err)
	}
	w := &workerProcess{conn: conn, cancelled: make(map[uint64]error), files: newArrivals()}
	w.greet(h)
	if w.ways, err = link.NewGuest(conn, h.rings, ringsFD); err != nil {
		fatal("%v", err)
	}
	w.tx, w.rx = w.ways.Sender(), w.ways.Receiver()
	w.strand = strand.New(strand.Task, w.rec.Name)
	if w.rec.Once {
		w.strand.Kind = strand.Process
	}
	if w.rec.Logs {
		slog.SetDefault(slog.New(&logSender{conn: conn}))
	}
	go func() {
		if err := w.initialise(); err != nil {
			conn.Send(link.Message{Type: link.InitFailed, Body: encodeError(err)})
			exit(1)
		}
		conn.Send(link.Message{Type: link.Ready})
		w.serve()
	}()
	w.control()
}

// greet says who this is, and learns what it is to be.
func (w *workerProcess) greet(h *handshake) {
	b, err := wire.Marshal(greeting{Token: h.token, Build: buildID(), Table: tableHash()})
	if err == nil {
		err = w.conn.Send(link.Message{Type: link.Hello, Body: b})
	}
	if err != nil {
		exit(1) // the parent is gone
	}
	m, err := w.conn.Receive()
	if err != nil || m.Type != link.Welcome {
		exit(1)
	}
	if err := wire.Unmarshal(m.Body, &w.rec); err != nil {
		fatal("the parent's answer: %v", err)
	}
	if w.rec.Refused != "" {
		exit(1)
	}
	p := w.rec.Parent
	parentStrand.Store(&strand.Strand{ID: p.ID, Name: p.Name, Kind: strand.Kind(p.Kind), PID: p.PID})
}

// initialise runs the initializer.
func (w *workerProcess) initialise() error {
	if !w.rec.HasInit {
		return nil
	}
	e := lookup(w.rec.Init)
	if e == nil {
		return fmt.Errorf("there is no function %d", w.rec.Init)
	}
	c := &served{w: w, done: func() {}}
	// What it acquires is for as long as the worker lives.
	c.ctx.parent, c.ctx.strand = background, strand.New(strand.Process, w.rec.Name+" initializer")
	result := make(chan error, 1)
	go func() { // it may end its goroutine
		err := ErrGoexit
		defer func() { result <- err }()
		_, _, err = e.serve(c, w.rec.InitKind, w.rec.InitArg)
	}()
	return <-result
}

// control obeys the parent until it is gone.
func (w *workerProcess) control() {
	for {
		m, err := w.conn.Receive()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
			exit(0) // the parent has ended, also amid a message, or wants this worker no more
		}
		if err != nil {
			fatal("%v", err)
		}
		switch m.Type {
		case link.Cancel:
			if len(m.Body) == 9 {
				why := context.Canceled
				if m.Body[8] == 1 {
					why = context.DeadlineExceeded
				}
				w.cancel(binary.LittleEndian.Uint64(m.Body), why)
			}
		case link.Files, link.DropFiles:
			w.files.add(&m)
		case link.Quit:
			w.quit.Store(true)
			w.rx.Wake()
			w.tx.Wake()
		default:
			w.ways.Deliver(&m)
		}
	}
}

// cancel ends the context of a call, also of one that is still to be taken.
func (w *workerProcess) cancel(id uint64, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running != nil && w.running.req.ID == id {
		w.running.ctx.cancel(why)
	} else if w.running == nil || id > w.running.req.ID {
		w.cancelled[id] = why
	}
}

// serve takes calls until the parent wants no more. A function may end its
// goroutine by runtime.Goexit: then another goes on.
func (w *workerProcess) serve() {
	whole := false
	defer func() {
		if !whole {
			go w.serve()
		}
	}()
	for {
		frame, ok, err := w.rx.Next()
		switch {
		case err != nil:
			fatal("%v", err)
		case ok:
			w.run(frame)
			if w.rec.Once {
				return
			}
			continue
		case w.quit.Load():
			whole = true
			exit(0)
		}
		if w.rx.Skipped() {
			w.tellRoom()
			continue
		}
		w.rx.Wait(link.Spin, w.quit.Load)
	}
}

// tellRoom tells the parent that calls which it took back are stepped over: there is no
// answer to them, and it may wait for their room.
func (w *workerProcess) tellRoom() {
	head := (&wire.Response{Status: wire.Room}).Append(nil)
	for !w.quit.Load() {
		if _, ok := w.tx.Append2(head, nil); ok {
			w.tx.Ring()
			return
		}
		if err := w.tx.Err(); err != nil {
			fatal("%v", err)
		}
		w.tx.WaitRoom(len(head), w.quit.Load)
	}
}

// run runs one call. What is deferred happens also after runtime.Goexit.
func (w *workerProcess) run(frame []byte) {
	req, body, err := wire.ParseRequest(frame)
	if err != nil {
		fatal("%v", err)
	}
	c := &served{w: w, req: req, done: w.rx.Release}
	c.ctx.parent, c.ctx.strand = background, w.strand
	if req.Deadline != 0 {
		c.ctx.deadline = time.Unix(0, req.Deadline)
	}
	w.mu.Lock()
	w.running = c
	if why := w.cancelled[req.ID]; why != nil {
		c.ctx.cancel(why)
	}
	clear(w.cancelled) // all numbers in it are of calls before this one, or its own
	w.mu.Unlock()

	var out []byte
	var kind wire.Kind
	var e *entry
	err = ErrGoexit
	defer func() {
		c.free()
		closeAll(c.files) // those that did not reach the function
		err = takeBack(&c.ctx, e.taskName(), err)
		w.answer(c, kind, out, err)
		w.mu.Lock()
		w.running = nil
		w.mu.Unlock()
		if w.rec.Once {
			w.finish(err) // its threads first, to which the context is as before
		}
		c.ctx.cancel(context.Canceled) // what the function left running in it ends
	}()
	if req.Tag != 0 {
		defer waits.Run(req.Tag)()
	}
	var err2 error
	if c.files, err2 = w.files.take(req.ID, int(req.Files)); err2 != nil {
		err = err2
		return
	}
	arg, err2 := w.argument(c, body)
	if err2 != nil {
		err = err2
		return
	}
	if e = lookup(req.Func); e == nil {
		err = fmt.Errorf("brood: there is no function %d", req.Func)
		return
	}
	kind, out, err = e.serve(c, req.Kind, arg)
}

// finish ends a process that was to run one task, as Python's: when its threads have ended
// that are no daemons, with code 1 if the function failed, or a thread as in Main.
func (w *workerProcess) finish(err error) {
	joinThreads(background)
	failed := threadsFailed()
	endThreads()
	if err != nil || failed {
		exit(1)
	}
	exit(0)
}

// argument is the encoded argument, wherever it lies.
func (w *workerProcess) argument(c *served, body []byte) ([]byte, error) {
	if c.req.Where == wire.Inline {
		return body, nil
	}
	b, done, err := w.ways.Open(body)
	if err != nil {
		return nil, fmt.Errorf("brood: the argument's memory: %w", err)
	}
	release := c.done
	c.done = func() {
		done()
		release()
	}
	return b, nil
}

// free gives back the memory of the encoded argument, once it is decoded.
func (c *served) free() {
	if !c.freed {
		c.freed = true
		c.done()
	}
}

// serve implements entry.serve: decode, run, encode. A panic in any of them is an
// error that says where it was.
func (f *Func[A, R]) serve(c *served, k wire.Kind, b []byte) (kind wire.Kind, out []byte, err error) {
	doing := f.entry.name
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(doing, p)
		}
	}()
	var arg A
	doing = "decoding the argument of " + f.entry.name
	if err := wire.Decode(k, b, &arg); err != nil {
		return 0, nil, decodingError(f.entry, "argument", err)
	}
	c.free()
	if f.entry.carrier {
		any(&arg).(FileCarrier).SetFiles(c.files)
		c.files = nil
	}
	doing = f.entry.name
	v, err := f.fn(&c.ctx, arg)
	if err != nil {
		return 0, nil, err
	}
	doing = "encoding the result of " + f.entry.name
	if err := f.entry.travels("result"); err != nil {
		return 0, nil, encodingError(f.entry, "result", err)
	}
	if kind, out, err = wire.Encode(&v, nil); err != nil {
		return 0, nil, encodingError(f.entry, "result", err)
	}
	return kind, out, nil
}

// answer puts the outcome of a call on its way.
func (w *workerProcess) answer(c *served, kind wire.Kind, out []byte, err error) {
	res := wire.Response{ID: c.req.ID, Kind: kind}
	if err == nil && int64(len(out)) > w.rec.MaxPayload {
		err = fmt.Errorf("%w: the result has %d bytes, PoolOptions.MaxPayload is %d", ErrTooLarge, len(out), w.rec.MaxPayload)
	}
	if err != nil {
		res.Status, res.Kind = wire.Failed, wire.CBOR
		out = encodeError(err)
	}
	body, where, werr := w.ways.Place(out)
	if werr != nil { // no memory for a large one
		res.Status, res.Kind = wire.Failed, wire.CBOR
		body, where = encodeError(fmt.Errorf("brood: the outcome has %d bytes: %w", len(out), werr)), wire.Inline
	}
	res.Where = where
	head := res.Append(c.head[:0])
	for {
		if _, ok := w.tx.Append2(head, body); ok {
			w.tx.Ring()
			return
		}
		if err := w.tx.Err(); err != nil {
			fatal("%v", err)
		}
		w.tx.WaitRoom(len(head)+len(body), func() bool { return false })
	}
}

// RunEncoded runs a function by its name, with an argument as Task.Encode made it in
// another process of this program, and returns what Task.Resolve takes there. It is
// for executors on other machines. A panic is a *PanicError.
func RunEncoded(ctx context.Context, name string, arg []byte) ([]byte, error) {
	registry.Lock()
	e := registry.byName[name]
	registry.Unlock()
	if e == nil {
		return nil, fmt.Errorf("brood: this program has no function %q: is it the same build?", name)
	}
	if len(arg) == 0 {
		return nil, errors.New("brood: RunEncoded: the argument was not made by Task.Encode")
	}
	c := &served{done: func() {}}
	c.ctx.parent = ctx
	defer context.AfterFunc(ctx, func() { c.ctx.cancel(ctx.Err()) })()
	var result []byte
	err := guarded(name, func() error {
		kind, out, err := e.serve(c, wire.Kind(arg[0]), arg[1:])
		result = append([]byte{byte(kind)}, out...)
		return err
	})
	c.ctx.cancel(context.Canceled) // what the function left running in it ends
	if err != nil {
		return nil, err
	}
	return result, nil
}
