package share

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
)

// End is one end of a pipe: what is sent into the one end is received from the other, in order.
// An end may be used by several goroutines and processes; each item is received once.
//
// When the other end is closed, or every process that has used it has died or left the space, what
// was sent is still received, and then the error matches ErrClosed.
type End[T any] struct{ e *end[T] }

// end is an End in this process.
type end[T any] struct {
	name           string
	second, oneWay bool
	out, in        *typed[T] // nil: this end does not send, or does not receive
	used, closed   atomic.Bool
}

// PipeOptions say how a pipe works. All who open it give the same.
type PipeOptions struct {
	Capacity int  // how many items may be on their way, in each direction. Default: 16
	OneWay   bool // the first end sends, and the second one receives. Default: both do both
}

// oneWayBit in a parameter tells a pipe that goes one way.
const oneWayBit = 1 << 32

// NewPipe opens the pipe of that name in a space, or makes it, and returns its two ends. An end is
// used as soon as somebody sends into it or receives from it, or has been sent it in an argument.
func NewPipe[T any](s *Space, name string, o PipeOptions) (a, b *End[T], err error) {
	if o.Capacity == 0 {
		o.Capacity = 16
	}
	if o.Capacity < 1 || o.Capacity > MaxCapacity {
		return nil, nil, fmt.Errorf("share: pipe %q of capacity %d: give a number from 1 to %d, or 0 for the default", name, o.Capacity, MaxCapacity)
	}
	first, err := newEnd[T](s.space, name, o, false)
	if err != nil {
		return nil, nil, err
	}
	second, err := newEnd[T](s.space, name, o, true)
	if err != nil {
		return nil, nil, err
	}
	return &End[T]{first}, &End[T]{second}, nil
}

func newEnd[T any](s *space, name string, o PipeOptions, second bool) (*end[T], error) {
	p := params{uint64(o.Capacity), defaultHands}
	if o.OneWay {
		p[1] |= oneWayBit
	}
	there, err := openTyped[T](s, kindPipe, name, p)
	if err != nil {
		return nil, err
	}
	e := &end[T]{name: name, second: second, oneWay: o.OneWay, out: there}
	if !o.OneWay {
		if e.in, err = backOf[T](s, name, p); err != nil {
			return nil, err
		}
	}
	if second {
		e.out, e.in = e.in, e.out
	}
	return e, nil
}

// backSuffix ends the reserved name of the way back of a pipe.
const backSuffix = " back"

// backOf is the way back of a duplex pipe.
func backOf[T any](s *space, name string, p params) (*typed[T], error) {
	q, err := find(s, kindPipe, reserved+name+backSuffix, p, makeQueue)
	if err == nil {
		var t *typed[T]
		if t, err = typedAs[T](q); err == nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("share: open the way back of pipe %q of %v: %w", name, s, err)
}

var (
	errSendsOnly    = errors.New("share: this end of a one-way pipe only sends")
	errReceivesOnly = errors.New("share: this end of a one-way pipe only receives")
	errEndClosed    = shutError("this end of the pipe is closed")
)

// use notes once that this process has the end, whichever way it uses it first.
func (e *end[T]) use(ctx context.Context, w how) error {
	if e.used.Load() {
		return nil
	}
	if e.out != nil {
		if err := e.out.use(ctx, hasSent, e.out.entering(w)); err != nil {
			return e.out.fail("use", err)
		}
	}
	if e.in != nil {
		if err := e.in.use(ctx, hasReceived, e.in.entering(w)); err != nil {
			return e.in.fail("use", err)
		}
	}
	e.used.Store(true)
	return nil
}

func (e *end[T]) sending(ctx context.Context, w how) (*typed[T], error) {
	switch {
	case e == nil:
		return nil, errNothing
	case e.out == nil:
		return nil, errReceivesOnly
	case e.closed.Load():
		return nil, e.out.fail("send into", errEndClosed)
	}
	return e.out, e.use(ctx, w)
}

func (e *end[T]) receiving(ctx context.Context, w how) (*typed[T], error) {
	switch {
	case e == nil:
		return nil, errNothing
	case e.in == nil:
		return nil, errSendsOnly
	case e.closed.Load():
		return nil, e.in.fail("receive from", errEndClosed)
	}
	return e.in, e.use(ctx, w)
}

// Send sends an item, and waits for room as long as ctx lets it. If nobody is left who could
// receive it, the error matches ErrClosed.
func (e *End[T]) Send(ctx context.Context, v T) error {
	t, err := e.e.sending(ctx, how{})
	if err != nil {
		return err
	}
	return t.put(ctx, v, 0, how{})
}

// TrySend sends an item if there is room. Otherwise the error matches ErrFull.
func (e *End[T]) TrySend(v T) error {
	t, err := e.e.sending(context.Background(), how{now: true})
	if err != nil {
		return err
	}
	return t.put(context.Background(), v, 0, how{now: true})
}

// Receive receives the next item, and waits for one as long as ctx lets it. When nothing is left
// and nobody who could send, the error matches ErrClosed.
func (e *End[T]) Receive(ctx context.Context) (v T, err error) {
	t, err := e.e.receiving(ctx, how{})
	if err != nil {
		return v, err
	}
	var c catch
	return t.get(ctx, &c, how{})
}

// ReceiveInto is Receive that stores the item in v, as Queue.GetInto does.
func (e *End[T]) ReceiveInto(ctx context.Context, v *T) error {
	t, err := e.e.receiving(ctx, how{})
	if err != nil {
		return err
	}
	return t.getInto(ctx, v)
}

// TryReceive receives an item if there is one. Otherwise the error matches ErrEmpty, or ErrClosed.
func (e *End[T]) TryReceive() (v T, err error) {
	t, err := e.e.receiving(context.Background(), how{now: true})
	if err != nil {
		return v, err
	}
	var c catch
	return t.get(context.Background(), &c, how{now: true})
}

// All receives items until nothing is left and nobody who could send. An error is the last thing
// that it yields, unless it is a *DecodeError.
func (e *End[T]) All(ctx context.Context) iter.Seq2[T, error] { return untilEnd(ctx, e.Receive) }

// untilEnd gets items until the stream ends.
func untilEnd[T any](ctx context.Context, get func(context.Context) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := get(ctx)
			if isEnd(err) || !yield(v, err) {
				return
			}
			if err != nil && !isUndecodable(err) {
				return
			}
		}
	}
}

// Poll reports whether there is something to be received, or the other end was closed.
func (e *End[T]) Poll() bool {
	mustBe(e.e != nil)
	return e.e.in != nil && e.e.in.hasMore()
}

// Close closes this end, for all who have it: the other end receives what was sent, and then
// nothing more can be sent or received.
func (e *End[T]) Close() error {
	if e.e == nil {
		return errNothing
	}
	e.e.closed.Store(true)
	var errs []error
	for _, t := range []*typed[T]{e.e.out, e.e.in} {
		if t != nil {
			errs = append(errs, t.end("close", nil))
		}
	}
	return errors.Join(errs...)
}
