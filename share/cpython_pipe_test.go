package share

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
)

// pipe makes a new pipe.
func pipe[T any](s *Space, name string, o PipeOptions) (a, b *End[T]) {
	a, b, err := NewPipe[T](s, name, o)
	if err != nil {
		panic(err)
	}
	return a, b
}

// echo sends back what it receives, until an empty message.
func echo(t *testing.T, e *End[[]byte]) (wait func()) {
	ctx := bounded(t)
	return start(func() {
		for {
			b, err := e.Receive(ctx)
			if is(t, err, nil); err != nil || len(b) == 0 {
				break
			}
			is(t, e.Send(ctx, b), nil)
		}
		is(t, e.Close(), nil)
	})
}

// pipePorts are of _test_multiprocessing.py: Connection.
var pipePorts = map[string]func(t *testing.T, s *Space){
	"pipe: connection": func(t *testing.T, s *Space) {
		conn, child := pipe[[]byte](s, "p", PipeOptions{})
		ctx := bounded(t)
		wait := echo(t, child)
		back := func(b []byte) {
			t.Helper()
			is(t, conn.Send(ctx, b), nil)
			if got, err := conn.Receive(ctx); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d bytes came back of %d, %v", len(got), len(b), err)
			}
		}
		back([]byte("hello world"))
		back(bytes.Repeat([]byte("hello world"), 10))
		if conn.Poll() {
			t.Error("something is there")
		}
		_, err := conn.Receive(elapsed(ctx))
		is(t, err, context.DeadlineExceeded)
		_, err = conn.Receive(soon(ctx))
		is(t, err, context.DeadlineExceeded)
		is(t, conn.Send(ctx, []byte{0}), nil)
		eventually(t, "it comes back", conn.Poll)
		if got := must(conn.Receive(ctx)); !bytes.Equal(got, []byte{0}) {
			t.Error(got)
		}
		back(bytes.Repeat([]byte("X"), 16<<20))
		is(t, conn.Send(ctx, nil), nil) // the other one ends
		wait()
		_, err = conn.Receive(ctx)
		is(t, err, ErrClosed)
		is(t, conn.Send(ctx, []byte("x")), ErrClosed)
	},
	"pipe: values": func(t *testing.T, s *Space) {
		conn, child := pipe[[]any](s, "p", PipeOptions{})
		ctx := bounded(t)
		is(t, conn.Send(ctx, []any{"1", 2.25, nil}), nil)
		is(t, child.Send(ctx, must(child.Receive(ctx))), nil)
		if got := must(conn.Receive(ctx)); !slices.Equal(got, []any{"1", 2.25, nil}) {
			t.Error(got)
		}
		is(t, conn.Send(ctx, nil), nil)
		if got, err := child.Receive(ctx); err != nil || got != nil {
			t.Error(got, err)
		}
	},
	"pipe: one way": func(t *testing.T, s *Space) {
		w, r := pipe[int](s, "p", PipeOptions{OneWay: true})
		ctx := bounded(t)
		is(t, w.Send(ctx, 1), nil)
		item(t, r.Receive, 1)
		is(t, r.Send(ctx, 2), errReceivesOnly)
		is(t, r.TrySend(2), errReceivesOnly)
		_, err := w.Receive(ctx)
		is(t, err, errSendsOnly)
		_, err = w.TryReceive()
		is(t, err, errSendsOnly)
		if w.Poll() {
			t.Error("an end that only sends has something to be received")
		}
	},
	"pipe: parts of bytes": func(t *testing.T, s *Space) {
		a, b := pipe[[]byte](s, "p", PipeOptions{})
		msg := []byte("abcdefghijklmnopqrstuvwxyz")
		for _, part := range [][]byte{msg, msg[5:], msg[7 : 7+8], msg[26:], msg[26:26]} {
			is(t, a.Send(bounded(t), part), nil)
			if got, err := b.Receive(bounded(t)); err != nil || string(got) != string(part) || got == nil {
				t.Errorf("%q, %v", got, err)
			}
		}
	},
	"pipe: with": func(t *testing.T, s *Space) {
		a, b := pipe[int](s, "p", PipeOptions{})
		ctx := bounded(t)
		is(t, a.Send(ctx, 1729), nil)
		item(t, b.Receive, 1729)
		is(t, errors.Join(a.Close(), b.Close()), nil)
		for _, e := range []*End[int]{a, b} {
			_, err := e.Receive(ctx)
			is(t, err, ErrClosed)
			is(t, e.Send(ctx, 1), ErrClosed)
			is(t, e.TrySend(1), ErrClosed)
			is(t, e.Close(), nil)
		}
	},
	// Closing one end gives the other one what was sent, and then the end; who waits is told.
	"pipe: closed while many wait": func(t *testing.T, s *Space) {
		a, b := pipe[int](s, "p", PipeOptions{Capacity: 2})
		ctx := bounded(t)
		wait := start(func() {
			all(3, func(int) {
				_, err := b.Receive(ctx)
				is(t, err, ErrClosed)
			})
		})
		asleep(t, 3, sleepsIn)
		is(t, errors.Join(b.Send(ctx, 1), b.Send(ctx, 2)), nil)
		full := start(func() { is(t, b.Send(ctx, 3), ErrClosed) })
		asleep(t, 4, sleepsIn)
		is(t, a.Close(), nil)
		wait()
		full()
	},

	"poll: empty string": func(t *testing.T, s *Space) {
		a, b := pipe[[]byte](s, "p", PipeOptions{})
		if a.Poll() {
			t.Error("something is there")
		}
		is(t, b.Send(bounded(t), []byte{}), nil)
		for range 2 { // it stays
			if !a.Poll() || b.Poll() {
				t.Error("it is not there, or at the wrong end")
			}
		}
	},
	"poll: strings": func(t *testing.T, s *Space) {
		texts := []string{"hello", "", "a", "b", "", "bye", "", "lop"}
		a, b := pipe[string](s, "p", PipeOptions{Capacity: 1})
		ctx := bounded(t)
		wait := start(func() {
			for _, text := range texts {
				is(t, b.Send(ctx, text), nil)
			}
			is(t, b.Close(), nil)
		})
		for _, text := range texts {
			eventually(t, "something is there", a.Poll)
			if got, err := a.Receive(ctx); err != nil || got != text {
				t.Errorf("%q, %v", got, err)
			}
		}
		_, err := a.Receive(ctx)
		is(t, err, ErrClosed)
		wait()
	},
	"poll: boundaries": func(t *testing.T, s *Space) {
		w, r := pipe[string](s, "p", PipeOptions{OneWay: true})
		wait := start(func() { eventually(t, "something is there", r.Poll) })
		for _, text := range []string{"first", "second"} {
			is(t, w.Send(bounded(t), text), nil)
		}
		is(t, w.Close(), nil)
		wait()
		if got, err := r.Receive(bounded(t)); err != nil || got != "first" {
			t.Errorf("%q, %v", got, err)
		}
	},
	"poll: nothing is merged": func(t *testing.T, s *Space) {
		a, b := pipe[[]byte](s, "p", PipeOptions{})
		ctx := bounded(t)
		texts := []string{"a", "b", "cd"}
		start(func() {
			for _, text := range texts {
				is(t, b.Send(ctx, []byte(text)), nil)
			}
		})()
		for _, text := range texts {
			if got, err := a.Receive(ctx); err != nil || string(got) != text || a.Poll() != (text != "cd") {
				t.Errorf("%q, %v, %v", got, err, a.Poll())
			}
		}
	},

	// An end goes through a pipe, in either way of use.
	"pipe: access": func(t *testing.T, s *Space) {
		conn, child := pipe[End[string]](s, "conn", PipeOptions{})
		answers, answer := pipe[string](s, "answers", PipeOptions{})
		ctx := bounded(t)
		wait := start(func() {
			w := must(child.Receive(ctx))
			is(t, errors.Join(w.Send(ctx, "all is well"), w.Close()), nil)
			r := must(child.Receive(ctx))
			msg := must(r.Receive(ctx))
			is(t, errors.Join(answer.Send(ctx, msg+msg), answer.Close()), nil)
		})
		w, r := pipe[string](s, "1", PipeOptions{OneWay: true})
		is(t, conn.Send(ctx, *w), nil)
		if got := must(r.Receive(ctx)); got != "all is well" {
			t.Error(got)
		}
		w, r = pipe[string](s, "2", PipeOptions{OneWay: true})
		is(t, conn.Send(ctx, *r), nil)
		is(t, errors.Join(w.Send(ctx, "foobar"), w.Close()), nil)
		if got := must(answers.Receive(ctx)); got != "foobarfoobar" {
			t.Error(got)
		}
		wait()
	},
	// A goroutine for each end stands for a wait on all of them.
	"pipe: several": func(t *testing.T, s *Space) {
		ctx := bounded(t)
		into := must(NewQueue[[2]int](s, "all", 4))
		wait := start(func() {
			all(4, func(n int) {
				w, r := pipe[[2]int](s, string(rune('a'+n)), PipeOptions{OneWay: true, Capacity: 3})
				sent := start(func() {
					for i := range 10 {
						is(t, w.Send(ctx, [2]int{i, n}), nil)
					}
					is(t, w.Close(), nil)
				})
				for v, err := range r.All(ctx) {
					is(t, errors.Join(err, into.Put(ctx, v)), nil)
				}
				sent()
			})
			is(t, into.Close(), nil)
		})
		var next [4]int
		for v, err := range into.All(ctx) {
			if err != nil || v[0] != next[v[1]] {
				t.Fatal(v, err, next)
			}
			next[v[1]]++
		}
		if next != [4]int{10, 10, 10, 10} {
			t.Error(next)
		}
		wait()
	},
}
