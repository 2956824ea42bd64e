package share

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

// A queue that was sent is the same one, and so is an end of a pipe.
func TestSharedQueueHandles(t *testing.T) {
	s, err := New()
	closed(t, s, err)
	for name, h := range queueHandles(s) {
		t.Run(name, func(t *testing.T) {
			data, err := h.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(h).Elem()).Interface()
			if err := got.(encoding.BinaryUnmarshaler).UnmarshalBinary(data); err != nil {
				t.Fatal(err)
			}
			ctx := bounded(t)
			switch got := got.(type) {
			case *Queue[string]:
				checkSame(t, h.(*Queue[string]).t.queue, got.t.queue)
				is(t, got.Put(ctx, "x"), nil)
				if v, err := h.(*Queue[string]).Get(ctx); err != nil || v != "x" {
					t.Error(v, err)
				}
			case *Stack[string]:
				checkSame(t, h.(*Stack[string]).t.queue, got.t.queue)
			case *PriorityQueue[string]:
				checkSame(t, h.(*PriorityQueue[string]).t.queue, got.t.queue)
			case *JoinableQueue[string]:
				checkSame(t, h.(*JoinableQueue[string]).t.queue, got.t.queue)
			case *End[string]:
				checkEnds(t, h.(*End[string]).e, got.e)
			default:
				t.Errorf("what is %T", got)
			}
			wrongQueue(t, name, data)
		})
	}
}

func checkEnds(t *testing.T, sent, got *end[string]) {
	of := func(q *typed[string]) *queue {
		if q == nil {
			return nil
		}
		return q.queue
	}
	checkSame(t, of(sent.out), of(got.out))
	checkSame(t, of(sent.in), of(got.in))
	if sent.name != got.name || sent.second != got.second || sent.oneWay != got.oneWay {
		t.Errorf("sent %q %v %v, got %q %v %v", sent.name, sent.second, sent.oneWay, got.name, got.second, got.oneWay)
	}
	if !got.used.Load() {
		t.Error("who was sent an end has not used it")
	}
}

// wrongQueue receives an address as what it is not.
func wrongQueue(t *testing.T, name string, data []byte) {
	t.Helper()
	name, _, _ = strings.Cut(name, ",")
	for kind, h := range map[string]encoding.BinaryUnmarshaler{
		"queue": new(Queue[string]), "stack": new(Stack[string]), "priority queue": new(PriorityQueue[string]),
		"joinable queue": new(JoinableQueue[string]), "pipe": new(End[string]), "lock": new(Lock), "event": new(Event),
	} {
		if err := h.UnmarshalBinary(data); kind == name {
			is(t, err, nil)
		} else {
			contains(t, err, fmt.Sprintf("share: receive a handle: it is of a %s, not of a %s", name, kind))
		}
	}
}

// What an address says of a queue may be anything: it is believed as far as it can be.
func TestQueueAddressMadeUp(t *testing.T) {
	s := must(New())
	closed(t, s, nil)
	for n, p := range []params{{}, {math.MaxUint64, math.MaxUint64}, {1, 0}, {0, 1 << 32}, {1 << 40, 1<<63 | 1}} {
		for k, h := range map[kind]interface {
			encoding.BinaryUnmarshaler
			Cap() int
			Close() error
		}{kindQueue: new(Queue[int]), kindStack: new(Stack[int]), kindPriorityQueue: new(PriorityQueue[int]), kindJoinableQueue: new(JoinableQueue[int])} {
			data := must((&object{space: s.space, kind: k, name: fmt.Sprint(k, n), params: p}).marshal())
			if err := h.UnmarshalBinary(data); err != nil {
				t.Errorf("%v %v: %v", k, p, err)
			} else if c := h.Cap(); c < 1 || c > MaxCapacity || h.Close() != nil {
				t.Errorf("%v %v: capacity %d", k, p, c)
			}
		}
		data := must((&object{space: s.space, kind: kindPipe, name: fmt.Sprint("pipe", n), params: p}).marshal())
		var e End[int]
		if err := e.UnmarshalBinary(data); err != nil {
			t.Errorf("pipe %v: %v", p, err)
		} else if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// older puts items of a type as an older version of a program may have had it.
func older() (text string, put func(s *Space, name string) error) {
	type job struct {
		ID   int
		Args []string
	}
	return typeText(reflect.TypeFor[job]()), func(s *Space, name string) error {
		return must(NewQueue[job](s, name, 10)).TryPut(job{7, []string{"a", "b"}})
	}
}

// An item of a type that has changed is an error if it does not fit; what is new in a type is zero.
func TestChangedType(t *testing.T) {
	type job struct {
		ID   string
		Args []string
	}
	s := must(New())
	closed(t, s, nil)
	before, put := older()
	if now := typeText(reflect.TypeFor[job]()); strings.SplitN(now, "\t", 2)[0] != strings.SplitN(before, "\t", 2)[0] || now == before {
		t.Fatalf("%q and %q", now, before)
	}
	is(t, put(s, "q"), nil)
	q := must(NewQueue[job](s, "q", 10))
	is(t, q.TryPut(job{ID: "8"}), nil)
	_, err := q.Get(bounded(t))
	e := new(DecodeError)
	if !errors.As(err, &e) || e.Err == nil {
		t.Fatal(err)
	}
	contains(t, err, "share: get from queue \"q\" of ", "share.job struct { ID int; Args []string }", "is not a", "share.job struct { ID string; Args []string }", e.Err.Error())
	if v, err := q.Get(bounded(t)); err != nil || v.ID != "8" {
		t.Error(v, err)
	}
	newer(t, s, put)
}

func newer(t *testing.T, s *Space, put func(s *Space, name string) error) {
	type job struct {
		ID   int
		Args []string
		More map[string]int
	}
	is(t, put(s, "newer"), nil)
	if v, err := must(NewQueue[job](s, "newer", 10)).Get(bounded(t)); err != nil || v.ID != 7 || len(v.Args) != 2 || v.More != nil {
		t.Error(v, err)
	}
}

// An item of another type is an error that has it, and the next Get gets the next item.
func TestQueueOfAnotherType(t *testing.T) {
	s := must(New())
	closed(t, s, nil)
	ctx := bounded(t)
	for _, n := range []int{0, 5, maxInline, maxInline + 1, 100 << 10} {
		name, item := fmt.Sprint(n), bytes.Repeat([]byte("x"), n)
		checkItem := func(err error) {
			t.Helper()
			e := new(DecodeError)
			if !errors.As(err, &e) || e.ItemType != "[]uint8" || e.Type != "int" || !bytes.Equal(e.Data, item) || e.Err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
			contains(t, e, "an item of type []uint8 is not a int")
		}
		put, get := must(NewQueue[[]byte](s, name, 5)), must(NewQueue[int](s, name, 5))
		is(t, errors.Join(put.Put(ctx, item), get.Put(ctx, 6), put.Put(ctx, item)), nil)
		_, err := get.Get(ctx)
		checkItem(err)
		if v, err := get.Get(ctx); err != nil || v != 6 {
			t.Error(v, err)
		}
		_, err = get.TryGet()
		checkItem(err)
		if !get.Empty() {
			t.Errorf("%d are left", get.Len())
		}

		o := JoinableOptions{Capacity: 5}
		jput, jget := must(NewJoinableQueue[[]byte](s, "j"+name, o)), must(NewJoinableQueue[int](s, "j"+name, o))
		is(t, errors.Join(jput.Put(ctx, item), jget.Put(ctx, 6)), nil)
		_, err = jget.Get(ctx)
		checkItem(err)
		if d := must(jget.Get(ctx)); d.Value != 6 || d.Done() != nil {
			t.Error(d.Value)
		}
		e := new(FailedItemsError)
		if err := jget.Join(ctx); !errors.As(err, &e) || e.Count != 1 {
			t.Error(err)
		}
		d := must(jget.Failed(ctx)) // who can't decode it may at least see it
		checkItem(d.Err())
		is(t, d.Return(), nil)
		back := must(jput.Failed(ctx))
		if !bytes.Equal(back.Value, item) || back.Attempt() != 1 || back.Err() == nil {
			t.Errorf("%d bytes have failed, want %d: %v", len(back.Value), n, back.Err())
		}
		is(t, errors.Join(back.Done(), jget.Join(ctx)), nil)

		w, _ := pipe[[]byte](s, "p"+name, PipeOptions{OneWay: true})
		more, r := pipe[int](s, "p"+name, PipeOptions{OneWay: true})
		is(t, errors.Join(w.Send(ctx, item), more.Send(ctx, 6), w.Close()), nil)
		var got []any
		for v, err := range r.All(ctx) {
			if err != nil {
				checkItem(err)
			}
			got = append(got, v, err != nil)
		}
		if fmt.Sprint(got) != "[0 true 6 false]" {
			t.Error(got)
		}
	}
}
