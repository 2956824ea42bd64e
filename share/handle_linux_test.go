package share

import (
	"context"
	"encoding"
	"errors"
	"os"
	"path/filepath"
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

// A space is one, by whatever path it is opened, until it is closed as often.
func TestTwoPaths(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.Mkdir(real, 0o700), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	open := func(path, name string) *Space { return must(Options{Dir: filepath.Join(path, "spaces")}.Open(name)) }
	a, b, other := open(real, "x"), open(link, "x"), open(link, "y")
	if a.space != b.space {
		t.Error("two paths lead to two spaces")
	}
	if a.space == other.space {
		t.Error("two names lead to one space")
	}
	g := must(must(a.Lock("l")).Acquire(t.Context()))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	l := must(b.Lock("l"))
	if g2, ok := l.TryAcquire(t.Context()); ok { // the space is still open
		g2.Release()
		t.Error("it was acquired twice")
	}
	g.Release()
	must(l.Acquire(bounded(t))).Release()
	if err := errors.Join(b.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	if names, err := (Options{Dir: filepath.Join(real, "spaces")}).Spaces(); err != nil || len(names) > 0 {
		t.Errorf("spaces %v are left, %v", names, err)
	}
	// The other path alone leads there as well.
	c := open(link, "x")
	if _, ok := must(c.Lock("l")).TryAcquire(t.Context()); !ok {
		t.Error("a lock of a space that was closed is held")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
