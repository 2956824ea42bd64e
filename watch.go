package brood

import (
	"context"
	"sync"
	"sync/atomic"
)

// watch is one registration with a context for all the tasks that a Func has under
// way in it, or for all threads: most programs submit many tasks with one context, and to
// register each costs more than to run a small one. It ends with its last task, so that a
// context is held no longer than by a task of its own; or, if it is to be kept, with the first
// task of another context, because to register anew for each of some threads that follow one
// another costs as much as they do.
type watch struct {
	done <-chan struct{} // of the context

	mu   sync.Mutex
	list *watched
	kept bool        // it does not end with its last task
	over bool        // the context has ended, or the last task
	stop func() bool // of the registration; nil once over, as it holds the context
}

// watched is the place in the list of a watch of what ends with a context.
type watched struct {
	what       interface{ contextEnded() }
	by         *watch
	next, prev *watched
}

// watchContext sees to it that t is told when its context ends. The last watch is in last, and
// kept there if keep is true.
func watchContext(ctx context.Context, last *atomic.Pointer[watch], keep bool, t *watched) {
	done := ctx.Done()
	if done == nil {
		return
	}
	if w := last.Load(); w != nil && w.done == done && w.join(t) {
		return
	}
	w := &watch{done: done, list: t, kept: keep}
	t.by = w
	stop := context.AfterFunc(ctx, w.ended)
	w.mu.Lock()
	if !w.over {
		w.stop = stop
	}
	w.mu.Unlock()
	if old := last.Swap(w); keep && old != nil {
		old.keepNoMore()
	}
}

// join adds a task, unless the watch is over.
func (w *watch) join(t *watched) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	t.by, t.next = w, w.list
	if t.next != nil {
		t.next.prev = t
	}
	w.list = t
	return true
}

// leave takes a task out, if it is in the list of a watch, and ends that with the last one.
func (t *watched) leave() {
	w := t.by
	if w == nil {
		return
	}
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.list = t.next
	}
	t.next, t.prev = nil, nil
	w.unlock()
}

// keepNoMore lets the watch end with its last task again.
func (w *watch) keepNoMore() {
	w.mu.Lock()
	w.kept = false
	w.unlock()
}

// unlock ends the watch if nothing needs it, and unlocks it.
func (w *watch) unlock() {
	var stop func() bool
	if w.list == nil && !w.kept {
		stop, w.stop, w.over = w.stop, nil, true
	}
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// ended is called when the context ends. What a task's end leads to may take its time,
// and must not keep the others waiting.
func (w *watch) ended() {
	w.mu.Lock()
	var t *watched
	if !w.over {
		t, w.list, w.stop, w.over = w.list, nil, nil, true
	}
	w.mu.Unlock()
	for t != nil {
		next := t.next
		t.next, t.prev = nil, nil
		go t.what.contextEnded()
		t = next
	}
}
