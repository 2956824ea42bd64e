package coro

import (
	"errors"
	"iter"
)

// All is an iterator over what the coroutine yields; each Resume gets in. What the function
// returns is not among it. An error comes last, with nothing beside it. When the loop is left
// early the coroutine is closed; Err tells what its deferred calls did.
func (c *Coroutine[In, Out]) All(in In) iter.Seq2[Out, error] {
	return func(yield func(Out, error) bool) {
		defer c.Close()
		for {
			over := c.State() == Done
			out, err := c.Resume(in)
			switch {
			case err == ErrDone && (over || c.Err() == nil): // and not one that the function returned
				return
			case err != nil:
				yield(out, err)
				return
			case c.State() == Done || !yield(out, nil):
				return
			}
		}
	}
}

// FromSeq makes a coroutine of an iterator: each Resume returns one value, and after the last
// one ErrDone. (It is iter.Pull with the errors, and the end, of a coroutine.)
func FromSeq[T any](seq iter.Seq[T]) *Coroutine[struct{}, T] {
	return NewFunc(func(co *Co[struct{}, T], _ struct{}) (none T, _ error) {
		for v := range seq {
			co.Yield(v)
		}
		return none, errExhausted
	})
}

// errExhausted is how the function of FromSeq says that it has ended without a value. Resume turns
// it into ErrDone; an ErrDone that comes from inside is an error like any (Python: PEP 479).
var errExhausted = errors.New("coro: the iterator has ended")

// Generate makes an iterator of a function that yields, each time it is ranged over anew. It is
// for functions that yield from far within, as a recursive one: yield has no result that must
// be passed up. When the loop is left early yield does not return, and the deferred calls of f
// run. It runs in the goroutine of the loop, without a switch, and its panics are those of
// any iterator.
//
// Leaving is a panic of its own: if f recovers that, and yields again, the loop panics.
func Generate[T any](f func(yield func(T))) iter.Seq[T] {
	return func(yield func(T) bool) {
		left := new(leaving)
		defer func() {
			if !left.yes {
				return
			}
			if v := recover(); v != nil && v != left {
				panic(v) // of a deferred call
			}
		}()
		f(func(v T) {
			if left.yes {
				panic("coro: yield is called after the loop was left: the function recovered a panic that was not its own")
			}
			if !yield(v) {
				left.yes = true
				panic(left)
			}
		})
	}
}

// leaving is what unwinds the function of Generate.
type leaving struct{ yes bool }
