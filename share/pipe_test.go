package share

import (
	"errors"
	"testing"
)

func TestPipe(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		a, b, err := NewPipe[string](s, "p", PipeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(a.Send(ctx, "ping"), a.TrySend("ping again"), b.Send(ctx, "pong")); err != nil {
			t.Fatal(err)
		}
		if !b.Poll() || !a.Poll() {
			t.Error("nothing to be received")
		}
		if v := must(b.Receive(ctx)) + must(b.TryReceive()) + must(a.Receive(ctx)); v != "pingping againpong" {
			t.Error(v)
		}
		if _, err := a.TryReceive(); !errors.Is(err, ErrEmpty) {
			t.Error(err)
		}
		if err := errors.Join(a.Send(ctx, "last"), a.Close()); err != nil {
			t.Error(err)
		}
		for v, err := range b.All(ctx) {
			if v != "last" || err != nil {
				t.Error(v, err)
			}
		}
		if err := b.Send(ctx, "x"); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		_, err = a.Receive(ctx)
		for _, err := range []error{err, a.Send(ctx, "x")} {
			if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			contains(t, err, "this end of the pipe is closed")
		}
	})
}

func TestOneWayPipe(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		a, b, err := NewPipe[int](s, "p", PipeOptions{Capacity: 1, OneWay: true})
		if err != nil {
			t.Fatal(err)
		}
		contains(t, b.Send(ctx, 1), "only receives")
		_, err = a.Receive(ctx)
		contains(t, err, "only sends")
		if err := a.TrySend(1); err != nil {
			t.Error(err)
		}
		if err := a.TrySend(2); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		if v := must(b.Receive(ctx)); v != 1 {
			t.Error(v)
		}
		if _, _, err := NewPipe[int](s, "p", PipeOptions{Capacity: 1}); err == nil {
			t.Error("it was opened as a pipe that goes both ways")
		}
		if _, _, err := NewPipe[int](s, "q", PipeOptions{Capacity: -1}); err == nil {
			t.Error("a capacity of -1")
		}
	})
}
