package link

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/brood-go/brood/internal/wire"
)

// Large is from which size on a payload is put into memory of its own, where there
// are rings.
const Large = 64 << 10

// Host is the parent's end of the way to a worker.
type Host struct {
	conn   *Conn
	stream *Stream // nil with rings
	rings  *rings  // nil with a stream
	users  atomic.Int32
	once   sync.Once
}

// NewHost makes the parent's end, with rings or without. The file, nil without, is
// for the worker to inherit; the caller closes it once it is inherited.
func NewHost(c *Conn, withRings bool) (*Host, *os.File, error) {
	h := &Host{conn: c}
	h.users.Store(1)
	if !withRings {
		h.stream = NewStream(c, true)
		return h, nil, nil
	}
	r, f, err := newRings()
	if err != nil {
		return nil, nil, err
	}
	h.rings = r
	return h, f, nil
}

// Sender is where calls are put.
func (h *Host) Sender() Sender {
	if h.stream != nil {
		return h.stream
	}
	return h.rings.sender()
}

// Receiver is where outcomes are taken.
func (h *Host) Receiver() Receiver {
	if h.stream != nil {
		return h.stream
	}
	return h.rings.receiver()
}

// Introduce makes the worker know the memory of a payload, and returns what goes
// into the frame instead of it.
func (h *Host) Introduce(p *Held) []byte { return h.rings.introduce(h.conn, p) }

// Deliver takes a control message that is about frames or memory.
func (h *Host) Deliver(m *Message) {
	switch {
	case m.Type == Frame || m.Type == Started:
		if h.stream != nil {
			h.stream.Deliver(m)
		}
	case h.rings != nil:
		h.rings.deliver(m)
	}
	if m.File != nil {
		m.File.Close()
	}
}

// Keep notes a result in memory of its own, so that it can be read after the
// frame is released and the worker is gone. It is released with Release, or by the
// garbage collector.
func (h *Host) Keep(frame []byte) *Kept {
	h.users.Add(1)
	k := &Kept{ref: append([]byte(nil), frame...), host: h}
	k.drop = runtime.AddCleanup(k, func(h *Host) { h.release() }, h)
	return k
}

// Close gives up this end. Its memory goes with the last result that is kept.
func (h *Host) Close() {
	h.once.Do(h.release)
}

func (h *Host) release() {
	if h.users.Add(-1) == 0 && h.rings != nil {
		h.rings.close()
	}
}

// Kept is a result in memory of its own.
type Kept struct {
	ref  []byte
	host *Host
	done func()
	drop runtime.Cleanup
}

// Bytes is the result, valid until Release.
func (k *Kept) Bytes() ([]byte, error) {
	b, done, err := k.host.rings.open(k.ref)
	k.done = done
	return b, err
}

// Release gives the memory back. It is called once.
func (k *Kept) Release() {
	k.drop.Stop()
	if k.done == nil { // never read: the worker is told all the same
		_, k.done, _ = k.host.rings.open(k.ref)
	}
	if k.done != nil {
		k.done()
	}
	k.host.release()
}

// Guest is the worker's end.
type Guest struct {
	conn   *Conn
	stream *Stream
	rings  *rings
}

// NewGuest makes the worker's end; fd is the inherited memory of the rings.
func NewGuest(c *Conn, withRings bool, fd uintptr) (*Guest, error) {
	if !withRings {
		return &Guest{conn: c, stream: NewStream(c, false)}, nil
	}
	r, err := openRings(fd)
	if err != nil {
		return nil, err
	}
	return &Guest{conn: c, rings: r}, nil
}

// Sender is where outcomes are put.
func (g *Guest) Sender() Sender {
	if g.stream != nil {
		return g.stream
	}
	return g.rings.sender()
}

// Receiver is where calls are taken.
func (g *Guest) Receiver() Receiver {
	if g.stream != nil {
		return g.stream
	}
	return g.rings.receiver()
}

// Deliver takes a control message that is about frames or memory.
func (g *Guest) Deliver(m *Message) {
	switch {
	case m.Type == Frame:
		if g.stream != nil {
			g.stream.Deliver(m)
		}
	case g.rings != nil:
		g.rings.deliver(m)
	}
	if m.File != nil {
		m.File.Close()
	}
}

// Open is the argument that a frame refers to, valid until done is called.
func (g *Guest) Open(frame []byte) (b []byte, done func(), err error) { return g.rings.open(frame) }

// Place says how a result travels: as it is, or by a reference to memory into which
// it was copied.
func (g *Guest) Place(result []byte) (body []byte, where wire.Where, err error) {
	if g.rings == nil || len(result) < Large {
		return result, wire.Inline, nil
	}
	ref, err := g.rings.hand(g.conn, result)
	return ref, wire.Apart, err
}
