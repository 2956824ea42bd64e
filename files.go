package brood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
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

const maxFiles = 250

var (
	errFilesGone    = errors.New("brood: the files of the argument were closed before they arrived: by their owner, or because the task was ended")
	errFilesTooMany = errors.New("it carries more than 250 files")
	errFilesAbroad  = errors.New("an argument that carries files goes to processes of this machine alone")
)

// carries reports whether values of a type carry files.
func carries(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[FileCarrier]())
}

// parcel is the files of a task, as its caller's process has them.
type parcel struct {
	mu    sync.Mutex
	files []Descriptor // nil once they are closed, or the function's
}

// get is the files. They stay the parcel's.
func (p *parcel) get() []Descriptor {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.files
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
		f.Close()
	}
}

// pack takes the files of a task's argument.
func (t *Task) pack(c FileCarrier) {
	p := &parcel{files: c.Files()}
	t.pool.parcel = p
	t.whenSettled(p.close)
}

// Files go to a worker over its control connection, each in a message with the id of the call
// that they belong to. They are sent when the call is put into the worker's ring, and kept there until
// it is taken. If it is taken back instead, a message without a descriptor says so.

// sendFiles sends the files of a call. Called with the pool's mu held.
func (h *host) sendFiles(id uint64, files []Descriptor) {
	if len(files) == 0 {
		return
	}
	body := binary.LittleEndian.AppendUint64(nil, id)
	for _, f := range files {
		h.conn.Post(link.Message{Type: link.File, Body: body, Pass: f})
	}
}

// dropFiles says that a call was taken back. Called with the pool's mu held.
func (h *host) dropFiles(f flight) {
	if f.task.pool.parcel != nil {
		h.conn.Post(link.Message{Type: link.File, Body: binary.LittleEndian.AppendUint64(nil, f.id)})
	}
}

// arrivals are the files that a worker has got for calls which it has not taken yet.
type arrivals struct {
	mu    sync.Mutex
	some  sync.Cond
	files map[uint64][]*os.File
	gone  map[uint64]bool // those of a call that will not come
	taken uint64          // the last call; none before it is wanted any more
}

func newArrivals() *arrivals {
	a := &arrivals{files: make(map[uint64][]*os.File), gone: make(map[uint64]bool)}
	a.some.L = &a.mu
	return a
}

// add takes what the parent has sent: a file, or word that there is none any more.
func (a *arrivals) add(m *link.Message) {
	if len(m.Body) != 8 {
		return
	}
	id := binary.LittleEndian.Uint64(m.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case m.File == nil:
		closeAll(a.files[id])
		delete(a.files, id)
		if id > a.taken {
			a.gone[id] = true
		}
	case id <= a.taken:
		m.File.Close()
	default:
		a.files[id] = append(a.files[id], m.File)
	}
	a.some.Broadcast()
}

// take waits for the n files of a call that the worker has taken. If the parent dies
// meanwhile, so does this process.
func (a *arrivals) take(id uint64, n int) ([]*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.files[id]) < n && !a.gone[id] {
		a.some.Wait()
	}
	files := a.files[id]
	delete(a.files, id)
	a.taken = id
	maps.DeleteFunc(a.gone, func(other uint64, _ bool) bool { return other <= id })
	if len(files) < n {
		closeAll(files)
		return nil, errFilesGone
	}
	return files, nil
}
