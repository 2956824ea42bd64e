package share

import (
	"context"
	"encoding"
	"errors"
	"maps"
	"slices"
	"testing"
)

// queueHandles are a queue of each kind, and the ends of pipes.
func queueHandles(s *Space) map[string]encoding.BinaryMarshaler {
	a, b := pipe[string](s, "duplex", PipeOptions{})
	sends, receives := pipe[string](s, "one way", PipeOptions{OneWay: true, Capacity: 3})
	return map[string]encoding.BinaryMarshaler{
		"queue": must(NewQueue[string](s, "ü <q>", 5)), "stack": must(NewStack[string](s, "s", 5)),
		"priority queue": must(NewPriorityQueue[string](s, "p", 5)),
		"joinable queue": must(NewJoinableQueue[string](s, "j", JoinableOptions{Capacity: 5, Attempts: 2, InHand: 7})),
		"pipe, first":    a, "pipe, second": b, "pipe, sends": sends, "pipe, receives": receives,
	}
}

// A queue of a local space can't be sent, and the error says what to do.
func TestLocalQueueHandles(t *testing.T) {
	for name, h := range queueHandles(s2(t)) {
		_, err := h.MarshalBinary()
		if err == nil {
			t.Errorf("%s was sent", name)
			continue
		}
		contains(t, err, "share: send ", "local space", "use share.Open or share.New")
	}
}

// What no queue was made of is refused.
func TestUnmarshalQueueRubbish(t *testing.T) {
	for _, data := range []string{"", "{", "null", "[]", "7", `{"Space":"../x"}`, `{"Space":".x","Kind":12}`, `{"Kind":12}`, `{"Kind":16}`} {
		for _, h := range []encoding.BinaryUnmarshaler{new(Queue[int]), new(Stack[int]), new(PriorityQueue[int]), new(JoinableQueue[int]), new(End[int])} {
			err := h.UnmarshalBinary([]byte(data))
			if err == nil {
				t.Errorf("%T was made of %q", h, data)
				continue
			}
			contains(t, err, "share: receive a handle: ")
		}
	}
}

// Who opens what is there as something else gets an error with both.
func TestQueueParams(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		queueHandles(s)
		open := func(_ any, err error) error { return err }
		opened := func(_, _ any, err error) error { return err }
		for _, c := range []struct {
			err          error
			asked, found string
		}{
			{open(NewQueue[string](s, "ü <q>", 6)), "queue of capacity 6", "queue of capacity 5"},
			{open(NewStack[string](s, "s", 4)), "stack of capacity 4", "stack of capacity 5"},
			{open(NewPriorityQueue[string](s, "p", 1)), "priority queue of capacity 1", "priority queue of capacity 5"},
			{open(NewStack[string](s, "ü <q>", 5)), "stack of capacity 5", "queue of capacity 5"},
			{open(NewQueue[string](s, "p", 5)), "queue of capacity 5", "priority queue of capacity 5"},
			{open(NewJoinableQueue[string](s, "ü <q>", JoinableOptions{Capacity: 5})), "joinable queue of capacity 5, with 1024 items in hand at most and 3 attempts", "queue of capacity 5"},
			{open(NewJoinableQueue[string](s, "j", JoinableOptions{Capacity: 5, Attempts: 3, InHand: 7})), "with 7 items in hand at most and 3 attempts", "with 7 items in hand at most and 2 attempts"},
			{open(NewJoinableQueue[string](s, "j", JoinableOptions{Capacity: 5, Attempts: 2})), "with 1024 items in hand", "with 7 items in hand"},
			{open(s.Lock("s")), "lock", "stack of capacity 5"},
			{open(NewQueue[string](s, "duplex", 16)), "queue of capacity 16", "pipe of capacity 16"},
			{opened(pipeError(s, "duplex", PipeOptions{Capacity: 15})), "pipe of capacity 15", "pipe of capacity 16"},
			{opened(pipeError(s, "duplex", PipeOptions{OneWay: true})), "one-way pipe of capacity 16", "pipe of capacity 16"},
			{opened(pipeError(s, "one way", PipeOptions{Capacity: 3})), "pipe of capacity 3", "one-way pipe of capacity 3"},
		} {
			e := new(ParamsError)
			if !errors.As(c.err, &e) {
				t.Errorf("no *ParamsError: %v", c.err)
				continue
			}
			contains(t, e.Asked, c.asked)
			contains(t, e.Found, c.found)
			contains(t, c.err, "share: open ", e.Asked, e.Found)
			if e.Asked == e.Found {
				t.Errorf("%q was opened as the same", e.Found)
			}
		}
	})
}

func pipeError(s *Space, name string, o PipeOptions) (a, b any, err error) {
	return NewPipe[string](s, name, o)
}

// Numbers that make no sense are refused.
func TestQueueOptions(t *testing.T) {
	s := s2(t)
	for _, n := range []int{0, -1, MaxCapacity + 1} {
		for kind, open := range map[string]func() error{
			"queue":          func() error { _, err := NewQueue[int](s, "x", n); return err },
			"stack":          func() error { _, err := NewStack[int](s, "x", n); return err },
			"priority queue": func() error { _, err := NewPriorityQueue[int](s, "x", n); return err },
			"joinable queue": func() error { _, err := NewJoinableQueue[int](s, "x", JoinableOptions{Capacity: n}); return err },
		} {
			contains(t, open(), "share: "+kind, "capacity", "give a number from 1 to 262144")
		}
	}
	for _, o := range []JoinableOptions{{Capacity: 1, Attempts: -1}, {Capacity: 1, InHand: -1}, {Capacity: 1, InHand: MaxCapacity + 1}, {Capacity: 1, Attempts: maxAttempts + 1}} {
		_, err := NewJoinableQueue[int](s, "x", o)
		contains(t, err, "share: joinable queue \"x\": ", "give a number from 1 to ", "or 0 for the default")
	}
	for _, n := range []int{-1, MaxCapacity + 1} {
		_, _, err := NewPipe[int](s, "x", PipeOptions{Capacity: n})
		contains(t, err, "share: pipe \"x\" of capacity", "or 0 for the default")
	}
	if names := slices.Collect(maps.Keys(s.space.things)); len(names) > 0 {
		t.Errorf("%q were made", names)
	}
}

// In a local space a queue has items of one type.
func TestLocalQueueOfAnotherType(t *testing.T) {
	s := s2(t)
	queueHandles(s)
	_, err := NewQueue[int](s, "ü <q>", 5)
	contains(t, err, "share: open queue \"ü <q>\" of a local space: ", "another type than int", "string")
	_, _, err = NewPipe[int](s, "duplex", PipeOptions{})
	contains(t, err, "share: open pipe \"duplex\"", "another type than int", "string")
}

// A queue that was not opened gives an error, or a panic that says so.
func TestNothingOfQueues(t *testing.T) {
	ctx := t.Context()
	var (
		q Queue[int]
		p PriorityQueue[int]
		j JoinableQueue[int]
		e End[int]
		d Delivery[int]
		s Space
	)
	for name, call := range map[string]func() error{
		"NewQueue":            func() error { _, err := NewQueue[int](&s, "x", 1); return err },
		"NewPipe":             func() error { _, _, err := NewPipe[int](&s, "x", PipeOptions{}); return err },
		"Queue.Put":           func() error { return q.Put(ctx, 1) },
		"Queue.TryPut":        func() error { return q.TryPut(1) },
		"Queue.PutAll":        func() error { _, err := q.PutAll(ctx, 1, 2); return err },
		"Queue.Get":           func() error { _, err := q.Get(ctx); return err },
		"Queue.TryGet":        func() error { _, err := q.TryGet(); return err },
		"Queue.GetUpTo":       func() error { _, err := q.GetUpTo(ctx, 2); return err },
		"Queue.Close":         q.Close,
		"Queue.Abort":         func() error { return q.Abort(nil) },
		"Queue.MarshalBinary": func() error { _, err := q.MarshalBinary(); return err },
		"Priority.Put":        func() error { return p.Put(ctx, 1, 1) },
		"Priority.Get":        func() error { _, _, err := p.GetWithPriority(ctx); return err },
		"Joinable.Put":        func() error { return j.Put(ctx, 1) },
		"Joinable.Get":        func() error { _, err := j.Get(ctx); return err },
		"Joinable.TryGet":     func() error { _, err := j.TryGet(ctx); return err },
		"Joinable.GetUpTo":    func() error { _, err := j.GetUpTo(ctx, 2); return err },
		"Joinable.Join":       func() error { return j.Join(ctx) },
		"Joinable.Failed":     func() error { _, err := j.Failed(ctx); return err },
		"Joinable.Close":      j.Close,
		"Joinable.Marshal":    func() error { _, err := j.MarshalBinary(); return err },
		"Delivery.Done":       d.Done,
		"End.Send":            func() error { return e.Send(ctx, 1) },
		"End.TrySend":         func() error { return e.TrySend(1) },
		"End.Receive":         func() error { _, err := e.Receive(ctx); return err },
		"End.TryReceive":      func() error { _, err := e.TryReceive(); return err },
		"End.Close":           e.Close,
		"End.MarshalBinary":   func() error { _, err := e.MarshalBinary(); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s of nothing has no error", name)
		} else {
			contains(t, err, "share: ", "of nothing")
		}
	}
	for range q.All(context.Background()) {
		break // it yields the error, or nothing
	}
	for _, call := range []func(){
		func() { q.Len() }, func() { q.Cap() }, func() { q.Full() }, func() { q.Empty() },
		func() { j.Len() }, func() { j.Cap() }, func() { j.Full() }, func() { j.Unfinished() }, func() { e.Poll() },
	} {
		contains(t, panics(t, call), "share: ", "of nothing")
	}
}
