package brood

import "sync"

// backlog is a queue of what is done by a goroutine of its own, which exists as long as
// there is something: calls of the user's code and writes that another may hold up,
// and that must not hold up the supervision of a worker.
type backlog struct {
	what string       // that is done, for the message about a panic
	do   func([]byte) // may panic, block, and end its goroutine

	mu    sync.Mutex
	items [][]byte
	bytes int           // in items
	idle  chan struct{} // closed when nothing is left; nil then
}

// push adds an item, which belongs to the backlog from now on.
func (q *backlog) push(item []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, item)
	q.bytes += len(item)
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.work()
	}
}

// work does what there is. What is deferred goes on with the rest after an item that
// panicked or ended the goroutine.
func (q *backlog) work() {
	whole := false
	defer func() {
		if !whole {
			go q.work()
		}
	}()
	defer func() {
		if v := recover(); v != nil {
			reportPanic(newPanicError(q.what, v))
		}
	}()
	for {
		item, ok := q.next()
		if !ok {
			whole = true
			return
		}
		q.do(item)
	}
}

// next is the oldest item; ok is false if nothing is left.
func (q *backlog) next() (item []byte, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		q.items = nil
		close(q.idle)
		q.idle = nil
		return nil, false
	}
	item = q.items[0]
	q.items[0] = nil
	q.items = q.items[1:]
	q.bytes -= len(item)
	return item, true
}

// size is how many bytes wait.
func (q *backlog) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// whenIdle is closed once nothing is left; nil if nothing is.
func (q *backlog) whenIdle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.idle
}
