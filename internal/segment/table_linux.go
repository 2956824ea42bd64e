package segment

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/brood-go/brood/internal/shm"
)

// maxDropped bounds the ids that a peer may drop before they were added.
const maxDropped = 4096

// Table maps the segments that a peer sends. Its methods are for any goroutine.
type Table struct {
	mu      sync.Mutex
	closed  bool
	maps    map[uint32]*mapping
	dropped map[uint32]bool // before they were added
	changed chan struct{}   // closed, and replaced, at each change that Bytes waits for
}

// mapping is a segment as the receiver has it.
type mapping struct {
	mem  *shm.Memory
	uses int
	gen  uint32 // of the last use
	gone bool   // dropped: it is unmapped by the last Done
}

// NewTable makes an empty Table.
func NewTable() *Table {
	return &Table{maps: make(map[uint32]*mapping), dropped: make(map[uint32]bool), changed: make(chan struct{})}
}

// Add maps the descriptor that a peer passed for an id, and closes it in any case.
func (t *Table) Add(id uint32, f *os.File) error {
	mem, err := shm.Open(f)
	if err != nil {
		f.Close()
		return fmt.Errorf("segment: add %d: %w: %w", id, ErrCorrupt, err)
	}
	if err := mem.CloseFile(); err != nil {
		mem.Close()
		return fmt.Errorf("segment: add %d: %w", id, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		mem.Close()
		return ErrClosed
	case t.dropped[id]:
		delete(t.dropped, id)
		mem.Close()
		return nil
	case t.maps[id] != nil:
		mem.Close()
		return fmt.Errorf("segment: add %d: %w: it was added before", id, ErrCorrupt)
	case mem.Len() <= HeaderSize:
		mem.Close()
		return fmt.Errorf("segment: add %d: %w: %d bytes", id, ErrCorrupt, mem.Len())
	}
	t.maps[id] = &mapping{mem: mem}
	t.notify()
	return nil
}

// notify wakes those that wait in Bytes. Under mu.
func (t *Table) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Bytes is what a Ref names. It waits until the segment was added, since the
// descriptor and the Ref come by different ways. The bytes are valid until Done, which must
// be called once for each call without error. The peer may change them.
func (t *Table) Bytes(ctx context.Context, r Ref) ([]byte, error) {
	t.mu.Lock()
	for {
		m := t.maps[r.ID]
		switch {
		case t.closed:
			t.mu.Unlock()
			return nil, ErrClosed
		case m != nil && m.gone || t.dropped[r.ID]:
			t.mu.Unlock()
			return nil, fmt.Errorf("%w: reference to segment %d, which was dropped", ErrCorrupt, r.ID)
		case m != nil:
			defer t.mu.Unlock()
			return m.use(r)
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("segment: wait for the descriptor of %d: %w", r.ID, ctx.Err())
		}
		t.mu.Lock()
	}
}

// use checks every field of a Ref. Under the table's mu.
func (m *mapping) use(r Ref) ([]byte, error) {
	if size := uint64(m.mem.Len()); r.Offset < HeaderSize || r.Offset > size || r.Length > size-r.Offset {
		return nil, fmt.Errorf("%w: reference to %d bytes at %d in segment %d of %d bytes", ErrCorrupt, r.Length, r.Offset, r.ID, size)
	}
	if gen := m.mem.Uint32(generationAt).Load(); gen != r.Gen {
		return nil, fmt.Errorf("%w: reference to generation %d of segment %d, which is at %d", ErrCorrupt, r.Gen, r.ID, gen)
	}
	m.uses++
	m.gen = r.Gen
	end := r.Offset + r.Length
	return m.mem.Bytes()[r.Offset:end:end], nil
}

// Done ends a use of what Bytes returned for the Ref. When none is left, the sender
// is told that it may write there again.
func (t *Table) Done(r Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.maps[r.ID]
	if m == nil || m.uses == 0 {
		panic("segment: Done without Bytes")
	}
	if m.uses--; m.uses > 0 {
		return
	}
	m.mem.Uint32(doneAt).Store(m.gen) // the commit
	if m.gone {
		t.unmap(r.ID, m)
	}
}

// Drop forgets a segment that the peer has dropped. What is in use stays mapped until
// Done. It may come before Add: then Add maps nothing.
func (t *Table) Drop(id uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.maps[id]
	switch {
	case t.closed:
	case m == nil && len(t.dropped) >= maxDropped:
		return fmt.Errorf("%w: %d segments were dropped and never added", ErrCorrupt, maxDropped)
	case m == nil:
		t.dropped[id] = true
		t.notify()
	default:
		m.gone = true
		if m.uses == 0 {
			t.unmap(id, m)
		}
	}
	return nil
}

// unmap is under mu.
func (t *Table) unmap(id uint32, m *mapping) {
	delete(t.maps, id)
	_ = m.mem.Close()
}

// Close unmaps what is not in use, and the rest with its last Done. It ends the
// waiting in Bytes. A second Close does nothing.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	for id, m := range t.maps {
		m.gone = true
		if m.uses == 0 {
			t.unmap(id, m)
		}
	}
	clear(t.dropped)
	t.notify()
}
