package brood

import (
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"sync"

	"github.com/brood-go/brood/internal/link"
)

// FileCarrier is an argument that carries open files, sockets among them, to where its function
// runs: Python's reduction of sockets and connections. A pointer to the argument's type has the
// methods; the fields that they are about do not travel otherwise, so they are not exported.
//
// From Submit on the files are the task's. In the process of the caller they are closed when
// the worker has them, or when the task has ended without having run; those of an Idempotent
// function, which may run again, when the task has ended. The function owns the files that its
// argument has, and closes them. At most 250 can be carried, to processes of this machine alone.
type FileCarrier interface {
	// Files are those of an argument that is about to travel.
	Files() []*os.File
	// SetFiles gives them to an argument that has arrived, in the same order.
	SetFiles(files []*os.File)
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

// parcel is the files of a task on their way.
type parcel struct {
	mu    sync.Mutex
	files []*os.File // nil once they are closed, or the function's
	keep  bool       // they may be sent again
}

// get is the files, for a worker. They stay the parcel's.
func (p *parcel) get() []*os.File {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.files
}

// count is how many files there are.
func (p *parcel) count() uint8 { return uint8(len(p.get())) }

// handOver makes the files those of a function of this process.
func (p *parcel) handOver() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files = nil
}

// close closes what is still here.
func (p *parcel) close() {
	p.mu.Lock()
	files := p.files
	p.files = nil
	p.mu.Unlock()
	closeAll(files)
}

// pack takes the files of a task's argument.
func (t *Task) pack(c FileCarrier, idempotent bool) {
	p := &parcel{files: c.Files(), keep: idempotent}
	t.pool.parcel = p
	t.whenSettled(p.close)
}

// A worker that has taken a call whose argument carries files asks for them over the control
// connection, so that none ever goes to one which does not run it.

// sendFiles answers a worker that has taken the call of an id.
func (h *host) sendFiles(id uint64) {
	p := h.pool
	var y *parcel
	p.mu.Lock()
	for i := range h.flights {
		if f := &h.flights[i]; f.id == id {
			y = f.task.pool.parcel
		}
	}
	p.mu.Unlock()
	body := binary.LittleEndian.AppendUint64(nil, id)
	files := y.get()
	if len(files) == 0 {
		h.conn.Post(link.Message{Type: link.File, Body: body})
		return
	}
	for i, f := range files {
		m := link.Message{Type: link.File, Body: body, File: f}
		if i == len(files)-1 && !y.keep {
			m.Sent = y.close
		}
		h.conn.Post(m)
	}
}

// fetch gets the files of a call.
func (w *workerProcess) fetch(c *served) ([]*os.File, error) {
	n := int(c.req.Files)
	if n == 0 {
		return nil, nil
	}
	arrived := make(chan *os.File, n)
	w.mu.Lock()
	w.arriving, w.arrivingID = arrived, c.req.ID
	w.mu.Unlock()
	err := w.conn.Send(link.Message{Type: link.Fetch, Body: binary.LittleEndian.AppendUint64(nil, c.req.ID)})
	var files []*os.File
	for err == nil && len(files) < n {
		if f := <-arrived; f != nil { // if the parent dies, so does this process
			files = append(files, f)
		} else {
			err = errFilesGone
		}
	}
	w.mu.Lock()
	w.arriving = nil
	w.mu.Unlock()
	if err != nil {
		for len(arrived) > 0 {
			if f := <-arrived; f != nil {
				files = append(files, f)
			}
		}
		closeAll(files)
		return nil, err
	}
	return files, nil
}

// arrive takes a file that the parent has sent.
func (w *workerProcess) arrive(m *link.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.arriving != nil && len(m.Body) == 8 && binary.LittleEndian.Uint64(m.Body) == w.arrivingID && len(w.arriving) < cap(w.arriving) {
		w.arriving <- m.File
	} else if m.File != nil {
		m.File.Close()
	}
}
