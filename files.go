package brood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"sync"
	"syscall"

	"github.com/brood-go/brood/internal/link"
)

// FileCarrier is an argument that carries open files, sockets among them, to where its function
// runs: Python's reduction of sockets and connections. A pointer to the argument's type has the
// methods; the fields that they are about do not travel otherwise, so they are not exported.
//
// From Submit on the files are the task's. In a goroutine the function owns them, and closes them.
// Another process gets descriptors of its own, which the function owns; those of the caller's
// process are closed when the task has ended, and not before, as another worker may need them:
// whoever reads the other end of a pipe or socket sees the end then. The files of a task that
// never runs are closed. At most 250 can be carried, to processes of this machine alone.
type FileCarrier interface {
	// Files are those of an argument that is about to travel.
	Files() []Descriptor
	// SetFiles gives them to an argument that has arrived, in the same order. Of a socket
	// package net makes a connection or a listener again: see net.FileConn.
	SetFiles(files []*os.File)
}

// Descriptor is what has a file descriptor: an *os.File, or a connection or listener of package
// net.
type Descriptor interface {
	syscall.Conn
	io.Closer
}

var (
	errFilesTooMany = fmt.Errorf("it carries more than %d files", link.MaxPass)
	errFilesNil     = errors.New("one of the files that it carries is nil")
	errFilesAbroad  = errors.New("an argument that carries files goes to processes of this machine alone")
)

// carries reports whether values of a type carry files.
func carries(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[FileCarrier]())
}

// parcel is the files of a task, as its caller's process has them. Their methods are the user's,
// and may take their time: they are called by the caller, or on a goroutine of their own.
type parcel struct {
	raw []syscall.RawConn // how they travel
	err error             // why they can't

	mu    sync.Mutex
	files []Descriptor // nil once they are closed, or the function's
}

// pack takes the files of a task's argument.
func (t *Task) pack(c FileCarrier) {
	p := new(parcel)
	t.pool.parcel = p
	p.err = caught("a method of the argument of ", t.Func(), func() error { return p.fill(c.Files()) })
	t.whenSettled(func() { go p.close() })
}

// caught makes an error of a panic.
func caught(what, of string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(what+of, v)
		}
	}()
	return f()
}

func (p *parcel) fill(files []Descriptor) (err error) {
	p.files = slices.DeleteFunc(slices.Clone(files), func(d Descriptor) bool { return d == nil }) // the array is the user's
	switch {
	case len(p.files) < len(files):
		return errFilesNil
	case len(files) > link.MaxPass:
		return errFilesTooMany
	}
	for _, d := range files {
		raw, e := d.SyscallConn()
		if e == nil && raw == nil {
			e = errFilesNil
		}
		if err = errors.Join(err, e); e == nil {
			p.raw = append(p.raw, raw)
		}
	}
	return err
}

// travels is how the files travel, or why they can't. Without a parcel there are none.
func (p *parcel) travels() ([]syscall.RawConn, error) {
	if p == nil {
		return nil, nil
	}
	return p.raw, p.err
}

// handOver makes the files those of a function of this process.
func (p *parcel) handOver() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = nil
}

// unpack is the files as another process would have them: those that are no *os.File as files
// of their own. The others are handed over.
func (p *parcel) unpack() (files []*os.File, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var stay []Descriptor
	for _, d := range p.files {
		f, ours := d.(*os.File)
		if !ours {
			stay = append(stay, d)
			x, ok := d.(interface{ File() (*os.File, error) })
			if !ok {
				err = errors.Join(err, fmt.Errorf("a %T has no method File", d))
				continue
			}
			var e error
			if f, e = x.File(); e != nil {
				err = errors.Join(err, e)
				continue
			}
		}
		files = append(files, f)
	}
	p.files = stay
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

// close closes what is still here.
func (p *parcel) close() {
	p.mu.Lock()
	files := p.files
	p.files = nil
	p.mu.Unlock()
	for _, f := range files {
		if p, ok := caught("the method Close of a file of ", "an argument", func() error { f.Close(); return nil }).(*PanicError); ok {
			reportPanic(p)
		}
	}
}

// Files go to a worker over its control connection, in one message with the id of the call that
// they belong to. They are sent when the call is put into the worker's ring, and kept there until it
// is taken. If it is taken back instead, a message says so.

// carries is how many files of calls are under way to the worker, or were taken by it with the call
// that it runs. Called with mu held.
func (h *host) carries() (n int) {
	for i := range h.flights {
		if y := h.flights[i].task.pool.parcel; y != nil {
			n += len(y.raw)
		}
	}
	return n
}

// sendFiles sends the files of a call. Called with the pool's mu held.
func (h *host) sendFiles(id uint64, files []syscall.RawConn) {
	if len(files) > 0 {
		h.conn.Post(link.Message{Type: link.Files, Body: binary.LittleEndian.AppendUint64(nil, id), Pass: files})
	}
}

// dropFiles says that a call was taken back. Called with the pool's mu held.
func (h *host) dropFiles(f flight) {
	if f.task.pool.parcel != nil {
		h.conn.Post(link.Message{Type: link.DropFiles, Body: binary.LittleEndian.AppendUint64(nil, f.id)})
	}
}

// arrivals are the files that a worker has got for calls which it has not taken yet.
type arrivals struct {
	mu    sync.Mutex
	some  sync.Cond
	all   map[uint64]arrival
	taken uint64 // the last call; nothing of it or of those before is wanted any more
}

// arrival is what has come for a call: its files, or why they are lost.
type arrival struct {
	files []*os.File
	lost  error
}

func newArrivals() *arrivals {
	a := &arrivals{all: make(map[uint64]arrival)}
	a.some.L = &a.mu
	return a
}

// add takes a message of the parent's.
func (a *arrivals) add(m *link.Message) {
	var id uint64
	if len(m.Body) == 8 {
		id = binary.LittleEndian.Uint64(m.Body)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	useless := a.all[id].files // which there are only of one that was taken back
	delete(a.all, id)
	switch {
	case m.Type == link.DropFiles:
	case id <= a.taken:
		useless = m.Files
	default:
		a.all[id] = arrival{m.Files, m.Lost}
		a.some.Broadcast()
	}
	if len(useless) > 0 {
		go closeAll(useless) // which may take its time
	}
}

// take is called for each call that the worker takes, and waits for its n files. The parent has
// sent them; if it dies meanwhile, so does this process.
func (a *arrivals) take(id uint64, n int) ([]*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n == 0 && len(a.all) == 0 {
		a.taken = id
		return nil, nil
	}
	got, ok := a.all[id]
	for ; n > 0 && !ok; got, ok = a.all[id] {
		a.some.Wait()
	}
	a.taken = id
	delete(a.all, id)
	for other, x := range a.all {
		if other < id {
			go closeAll(x.files)
			delete(a.all, other)
		}
	}
	if got.lost == nil && len(got.files) == n {
		return got.files, nil
	}
	go closeAll(got.files)
	switch got.lost {
	case nil:
		return nil, fmt.Errorf("brood: of the %d files of the argument %d arrived", n, len(got.files))
	case syscall.EBADF:
		return nil, errors.New("brood: the files of the argument were closed by their owner before they were sent, or the task was ended")
	}
	return nil, fmt.Errorf("brood: the files of the argument did not arrive: %w", got.lost)
}
