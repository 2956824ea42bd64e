package link

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/wire"
)

// Large is from which size on a payload is put into memory of its own, where there
// are rings.
const Large = 64 << 10

// Host is the parent's end of the way to a worker.
//
// The rings' memory is unmapped with the last user, so whoever calls a method of
// Sender or Receiver without being sure that Close was not called retains the host
// before, where it is sure.
type Host struct {
	conn   *Conn
	stream *Stream // nil with rings
	rings  *rings  // nil with a stream
	outbox *Outbox // of the arguments; nil with a stream
	users  atomic.Int32
	once   sync.Once
}

// NewHost makes the parent's end: with rings and the memory of an Outbox, or, if that
// is nil, over the connection. The file, nil without rings, is for the worker to
// inherit; the caller closes it once it is inherited.
func NewHost(c *Conn, o *Outbox) (*Host, *os.File, error) {
	h := &Host{conn: c, outbox: o}
	h.users.Store(1)
	if o == nil {
		h.stream = NewStream(c, true)
		return h, nil, nil
	}
	r, f, err := newRings()
	if err != nil {
		return nil, nil, err
	}
	h.rings = r
	o.join(h)
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

// Retain adds a user of the memory, who will call Release.
func (h *Host) Retain() { h.users.Add(1) }

// Release ends a user's part.
func (h *Host) Release() {
	if h.users.Add(-1) == 0 && h.rings != nil {
		h.rings.close()
	}
}

// Close gives up this end. Its memory goes with the last user.
func (h *Host) Close() {
	h.once.Do(func() {
		if h.outbox != nil {
			h.outbox.leave(h)
		}
		h.Release()
	})
}

// Keep notes a result in memory of its own, so that it can be read after the
// frame is released and the worker is gone. It is released with Release, or by the
// garbage collector.
func (h *Host) Keep(frame []byte) *Kept {
	h.Retain()
	u := unread{h, append([]byte(nil), frame...)}
	k := &Kept{unread: u}
	k.drop = runtime.AddCleanup(k, unread.giveBack, u)
	return k
}

// unread is a result that nobody reads.
type unread struct {
	host *Host
	ref  []byte
}

// giveBack tells the worker that the memory is free, if it has told of it.
func (u unread) giveBack() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, done, err := u.host.rings.open(ctx, u.ref); err == nil {
		done()
	}
	u.host.Release()
}

// Kept is a result in memory of its own.
type Kept struct {
	unread
	b    []byte
	done func() // not nil: b is the result
	drop runtime.Cleanup
}

// openTimeout bounds the wait for a descriptor. It was sent before the frame that
// refers to it, but by another way.
const openTimeout = 10 * time.Second

// Here reports whether Bytes returns at once.
func (k *Kept) Here() bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b, done, err := k.host.rings.open(ctx, k.ref)
	if err != nil {
		return false
	}
	k.b, k.done = b, done
	return true
}

// Bytes is the result, valid until Release.
func (k *Kept) Bytes() (b []byte, err error) {
	if k.done != nil {
		return k.b, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	b, k.done, err = k.host.rings.open(ctx, k.ref)
	return b, err
}

// Release gives the memory back. It is called once.
func (k *Kept) Release() {
	k.drop.Stop()
	if k.done == nil {
		k.giveBack()
		return
	}
	k.done()
	k.host.Release()
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
func (g *Guest) Open(frame []byte) (b []byte, done func(), err error) {
	return g.rings.open(context.Background(), frame)
}

// Place says how a result travels: as it is, or by a reference to memory into which
// it was copied.
func (g *Guest) Place(result []byte) (body []byte, where wire.Where, err error) {
	if g.rings == nil || len(result) < Large {
		return result, wire.Inline, nil
	}
	ref, err := g.rings.hand(g.conn, result)
	return ref, wire.Apart, err
}
