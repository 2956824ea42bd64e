package brood

import (
	"context"
	"sync"
)

// watch is one registration with a context for all the tasks that a Func has under
// way in it: most programs submit many tasks with one context, and to register each
// costs more than to run a small one. It ends with its last task, so that a context
// is held no longer than by a task of its own.
type watch struct {
	done <-chan struct{} // of the context

	mu    sync.Mutex
	tasks *Task       // linked by watched
	over  bool        // the context has ended, or the last task
	stop  func() bool // of the registration; nil once over, as it holds the context
}

// watched is a task's place in the list of a watch.
type watched struct {
	by         *watch
	next, prev *Task
}

// watchContext sees to it that t is told when its context ends.
func (e *entry) watchContext(ctx context.Context, t *Task) {
	done := ctx.Done()
	if done == nil {
		return
	}
	if w := e.watch.Load(); w != nil && w.done == done && w.join(t) {
		return
	}
	w := &watch{done: done, tasks: t}
	t.watched.by = w
	stop := context.AfterFunc(ctx, w.ended)
	w.mu.Lock()
	if !w.over {
		w.stop = stop
	}
	w.mu.Unlock()
	e.watch.Store(w)
}

// join adds a task, unless the watch is over.
func (w *watch) join(t *Task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	t.watched = watched{by: w, next: w.tasks}
	w.tasks.watched.prev = t
	w.tasks = t
	return true
}

// leave takes a task out, and ends the watch with the last one.
func (w *watch) leave(t *Task) {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return
	}
	l := &t.watched
	if l.next != nil {
		l.next.watched.prev = l.prev
	}
	if l.prev != nil {
		l.prev.watched.next = l.next
	} else {
		w.tasks = l.next
	}
	l.next, l.prev = nil, nil
	var stop func() bool
	if w.tasks == nil {
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
	var t *Task
	if !w.over {
		t, w.tasks, w.stop, w.over = w.tasks, nil, nil, true
	}
	w.mu.Unlock()
	for t != nil {
		next := t.watched.next
		t.watched.next, t.watched.prev = nil, nil
		go t.contextEnded()
		t = next
	}
}
