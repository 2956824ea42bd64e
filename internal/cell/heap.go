package cell

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Heap is the memory of one process: its words are variables, and its one participant is
// the process. The zero Heap is ready for use.
//
// Sleepers stand in a queue for each word, first come first woken. A queue exists as
// long as somebody stands in it.
type Heap struct {
	mu      sync.Mutex
	queues  map[*atomic.Uint64]*queue
	closed  bool
	extents []*[ExtentWords]atomic.Uint64
}

// queue is who sleeps on a word.
type queue struct{ first, last *sleeper }

// sleeper is a goroutine that sleeps. Its fields are guarded by the heap's mutex.
type sleeper struct {
	q          *queue
	prev, next *sleeper
	wake       chan struct{} // holds one; filled when the sleeper has left the queue
}

var sleepers = sync.Pool{New: func() any { return &sleeper{wake: make(chan struct{}, 1)} }}

// own is the ID of the only participant.
var own = MakeID(0, 1)

// Self implements Memory.
func (*Heap) Self() ID { return own }

// Alive implements Memory.
func (*Heap) Alive(id ID) bool { return id == own }

// Watch implements Memory: nobody dies who would leave the heap behind.
func (*Heap) Watch() uint64 { return 0 }

var start = time.Now()

// Now implements Memory.
func (*Heap) Now() time.Duration { return time.Since(start) }

// Spin implements Memory. With goroutines it is better to let another run: the one who
// would change the word may have no processor.
func (*Heap) Spin(w Word, old uint32) bool {
	for range 4 {
		if uint32(w.p.Load()) != old {
			return true
		}
		runtime.Gosched()
	}
	return uint32(w.p.Load()) != old
}

// Wait implements Memory.
func (h *Heap) Wait(ctx context.Context, w Word, old uint32, _ uint64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return ErrClosed
	}
	if uint32(w.p.Load()) != old {
		h.mu.Unlock()
		return nil
	}
	s := sleepers.Get().(*sleeper)
	h.enqueue(w.p, s)
	h.mu.Unlock()
	var err error
	select {
	case <-s.wake:
	case <-ctx.Done():
		err = context.Cause(ctx)
		h.mu.Lock()
		if s.q != nil {
			h.dequeue(w.p, s)
		} else {
			<-s.wake // it was woken as well: the caller's algorithm passes that on
		}
		h.mu.Unlock()
	}
	sleepers.Put(s)
	if err == nil {
		h.mu.Lock()
		if h.closed {
			err = ErrClosed
		}
		h.mu.Unlock()
	}
	return err
}

// enqueue and dequeue are called with mu held.
func (h *Heap) enqueue(p *atomic.Uint64, s *sleeper) {
	q := h.queues[p]
	if q == nil {
		if h.queues == nil {
			h.queues = make(map[*atomic.Uint64]*queue)
		}
		q = new(queue)
		h.queues[p] = q
	}
	s.q, s.prev, s.next = q, q.last, nil
	if q.last != nil {
		q.last.next = s
	} else {
		q.first = s
	}
	q.last = s
}

func (h *Heap) dequeue(p *atomic.Uint64, s *sleeper) {
	q := s.q
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		q.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		q.last = s.prev
	}
	s.q, s.prev, s.next = nil, nil, nil
	if q.first == nil {
		delete(h.queues, p)
	}
}

// Wake implements Memory.
func (h *Heap) Wake(w Word, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.queues[w.p]
	for ; q != nil && q.first != nil && n > 0; n-- {
		s := q.first
		h.dequeue(w.p, s)
		s.wake <- struct{}{}
	}
}

// Close ends every Wait, now and later, with ErrClosed.
func (h *Heap) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for p, q := range h.queues {
		for q.first != nil {
			s := q.first
			h.dequeue(p, s)
			s.wake <- struct{}{}
		}
	}
}

// Extend implements Extender.
func (h *Heap) Extend() (Extent, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	words := new([ExtentWords]atomic.Uint64)
	h.extents = append(h.extents, words)
	return extent(len(h.extents), words), nil
}

// Extent implements Extender.
func (h *Heap) Extent(index uint64) (Extent, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if index == 0 || index > uint64(len(h.extents)) {
		return Extent{}, false
	}
	return extent(int(index), h.extents[index-1]), true
}

func extent(index int, words *[ExtentWords]atomic.Uint64) Extent {
	return Extent{uint64(index), func(i int) Word { return At(&words[i]) }}
}
