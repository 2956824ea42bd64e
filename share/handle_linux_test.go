package share

import (
	"context"
	"encoding"
	"reflect"
	"testing"
)

// A handle that was sent is of the same object.
func TestSharedHandles(t *testing.T) {
	s, err := New()
	closed(t, s, err)
	for name, h := range handles(s) {
		t.Run(name, func(t *testing.T) {
			data, err := h.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(h).Elem()).Interface()
			if err := got.(encoding.BinaryUnmarshaler).UnmarshalBinary(data); err != nil {
				t.Fatal(err)
			}
			switch got := got.(type) {
			case *Space:
				if got.Name() != s.Name() || got.space != s.space {
					t.Errorf("space %q, not %q", got.Name(), s.Name())
				}
				if err := got.Close(); err != nil { // not ours to close
					t.Error(err)
				}
				must(s.Lock("still open"))
			case *Lock:
				checkSame(t, h.(*Lock).l, got.l)
				g := must(h.(*Lock).Acquire(t.Context()))
				if _, ok := got.TryAcquire(context.Background()); ok {
					t.Error("it is another lock")
				}
				g.Release()
			case *RLock:
				checkSame(t, h.(*RLock).l, got.l)
			case *Semaphore:
				checkSame(t, h.(*Semaphore).s, got.s)
			case *BoundedSemaphore:
				checkSame(t, h.(*BoundedSemaphore).s, got.s)
			case *Event:
				checkSame(t, h.(*Event).e, got.e)
			case *Condition:
				checkSame(t, h.(*Condition).c, got.c)
				checkSame(t, h.(*Condition).c.lock, got.c.lock)
			case *Barrier:
				checkSame(t, h.(*Barrier).b, got.b)
			default:
				t.Errorf("what is %T", got)
			}
			wrong(t, name, data)
		})
	}
}

func checkSame[T comparable](t *testing.T, sent, got T) {
	t.Helper()
	if sent != got {
		t.Errorf("sent %v, got %v", sent, got)
	}
}

// wrong receives an address as what it is not.
func wrong(t *testing.T, name string, data []byte) {
	t.Helper()
	var err error
	if name == "event" {
		err = new(Barrier).UnmarshalBinary(data)
	} else {
		err = new(Event).UnmarshalBinary(data)
	}
	if err == nil {
		t.Errorf("a %s was received as something else", name)
		return
	}
	contains(t, err, "share: receive a handle: it is of a ", ", not of a ")
}

// Another process has closed the space, and it is gone: the receiver makes a new one, as it can't
// know. In the same process an address finds it closed, and opens it again.
func TestHandleOutlivesClose(t *testing.T) {
	s := must(New())
	data := must(must(s.Lock("l")).MarshalBinary())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var l Lock
	if err := l.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	must(l.Acquire(t.Context())).Release()
	if err := spaces.close(l.l.space); err != nil { // what the exit of the process does
		t.Error(err)
	}
}
