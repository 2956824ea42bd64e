package link

import (
	"context"
	"encoding/binary"
	"os"
	"sync"

	"github.com/brood-go/brood/internal/ring"
	"github.com/brood-go/brood/internal/segment"
	"github.com/brood-go/brood/internal/shm"
)

// Spin is how often to look for a frame before sleeping.
const Spin = ring.Spin

// keepIdle bounds the idle memory that one side keeps for its next large payloads.
const keepIdle = 64 << 20

// rings is the memory that a parent and a worker share: two rings, and on each side
// the segments that it has got from the other. Calls go through the first ring,
// outcomes through the second.
type rings struct {
	mem *shm.Memory
	tx  *ring.Producer
	rx  *ring.Consumer
	got *segment.Table

	out *segment.Store // a worker's results; nil in a parent, where a pool's Outbox has the arguments

	mu    sync.Mutex
	known map[uint32]bool // segments that the other side has the descriptor of
}

var ringSize = ring.Size(DataSize)

// newRings makes the memory. The file is for the worker, and stays open until the
// caller closes it.
func newRings() (*rings, *os.File, error) {
	mem, err := shm.Create("brood-rings", 2*ringSize)
	if err != nil {
		return nil, nil, err
	}
	r := &rings{mem: mem, got: segment.NewTable(), known: make(map[uint32]bool)}
	r.tx = ring.NewProducer(mem, 0, DataSize)
	r.rx = ring.NewConsumer(mem, ringSize, DataSize)
	return r, mem.File(), nil
}

// openRings is the worker's side of the same memory.
func openRings(fd uintptr) (*rings, error) {
	mem, err := shm.Open(os.NewFile(fd, "brood-rings"))
	if err != nil {
		return nil, err
	}
	if err := mem.CloseFile(); err != nil {
		return nil, err
	}
	r := &rings{mem: mem, got: segment.NewTable(), known: make(map[uint32]bool), out: segment.NewStore(keepIdle)}
	r.rx = ring.NewConsumer(mem, 0, DataSize)
	r.tx = ring.NewProducer(mem, ringSize, DataSize)
	return r, nil
}

func (r *rings) sender() Sender     { return r.tx }
func (r *rings) receiver() Receiver { return r.rx }

// close unmaps all that is not in use.
func (r *rings) close() {
	r.got.Close()
	r.mem.Close()
}

// knows reports whether the other side has a segment's descriptor, and assumes that
// it will.
func (r *rings) knows(id uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[id]
	r.known[id] = true
	return known
}

// forget tells the other side that a segment is gone.
func (r *rings) forget(c *Conn, id uint32) {
	r.mu.Lock()
	known := r.known[id]
	delete(r.known, id)
	r.mu.Unlock()
	if known {
		c.Post(Message{Type: DropSegment, Body: binary.LittleEndian.AppendUint32(nil, id)})
	}
}

// introduce makes the worker know an argument's memory.
func (r *rings) introduce(c *Conn, p *Held) []byte {
	if s := p.seg; !r.knows(s.ID()) {
		s.Retain() // until its descriptor is on the way
		c.Post(Message{Type: Segment, Body: binary.LittleEndian.AppendUint32(nil, s.ID()), File: s.File(), Sent: s.Release})
	}
	return p.ref
}

// deliver takes a message about the other side's segments.
func (r *rings) deliver(m *Message) {
	if len(m.Body) != 4 {
		return
	}
	id := binary.LittleEndian.Uint32(m.Body)
	switch {
	case m.Type == Segment && m.File != nil:
		f := m.File
		m.File = nil // Add closes it
		r.got.Add(id, f)
	case m.Type == DropSegment:
		r.got.Drop(id)
	}
}

// open is the payload that a frame refers to. It waits for the descriptor until ctx
// ends. done is called once the bytes are used no more.
func (r *rings) open(ctx context.Context, frame []byte) (b []byte, done func(), err error) {
	ref, err := segment.ParseRef(frame)
	if err != nil {
		return nil, nil, err
	}
	if b, err = r.got.Bytes(ctx, ref); err != nil {
		return nil, nil, err
	}
	return b, func() { r.got.Done(ref) }, nil
}

// hand copies a result into memory which the parent gives back when it is done.
func (r *rings) hand(c *Conn, result []byte) ([]byte, error) {
	if r.out.OnDrop == nil {
		r.out.OnDrop = func(id uint32) { r.forget(c, id) }
	}
	s, err := r.out.Alloc(int64(len(result)))
	if err != nil {
		return nil, err
	}
	copy(s.Bytes(), result)
	if !r.knows(s.ID()) {
		err := c.Send(Message{Type: Segment, Body: binary.LittleEndian.AppendUint32(nil, s.ID()), File: s.File()})
		if err != nil {
			s.Release()
			return nil, err
		}
	}
	ref := s.Ref().AppendTo(nil)
	s.Handover()
	return ref, nil
}

// Outbox keeps a pool's large arguments: written once, they can be sent to any
// worker, and again to another.
type Outbox struct {
	store *segment.Store

	mu    sync.Mutex
	peers map[*Host]struct{}
}

// Held is a large argument in an Outbox.
type Held struct {
	seg *segment.Segment
	ref []byte
}

// NewOutbox makes an empty one. It is nil on platforms without shared memory.
func NewOutbox() *Outbox {
	o := &Outbox{store: segment.NewStore(keepIdle), peers: make(map[*Host]struct{})}
	o.store.OnDrop = o.forget
	return o
}

// join has h told of what is dropped, until leave.
func (o *Outbox) join(h *Host) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.peers[h] = struct{}{}
}

func (o *Outbox) leave(h *Host) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.peers, h)
}

func (o *Outbox) forget(id uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for h := range o.peers {
		h.rings.forget(h.conn, id)
	}
}

// Hold copies b into memory of its own.
func (o *Outbox) Hold(b []byte) (*Held, error) {
	s, err := o.store.Alloc(int64(len(b)))
	if err != nil {
		return nil, err
	}
	copy(s.Bytes(), b)
	return &Held{seg: s, ref: s.Ref().AppendTo(nil)}, nil
}

// Release gives the memory back. It is called once, when no worker will read it.
func (p *Held) Release() { p.seg.Release() }

// Close gives back what is idle, and the rest with its Release.
func (o *Outbox) Close() { o.store.Close() }
