package coro

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// tree is a binary tree, walked in order by a recursive function.
type tree struct {
	left, right *tree
	value       int
}

func (t *tree) walk(yield func(int)) {
	if t == nil {
		return
	}
	t.left.walk(yield)
	yield(t.value)
	t.right.walk(yield)
}

// grow makes a tree of the numbers from lo to hi.
func grow(lo, hi int) *tree {
	if lo > hi {
		return nil
	}
	mid := (lo + hi) / 2
	return &tree{grow(lo, mid-1), grow(mid+1, hi), mid}
}

func TestGenerate(t *testing.T) {
	seq := Generate(grow(1, 100).walk)
	all := slices.Collect(seq)
	if len(all) != 100 || !slices.IsSorted(all) {
		t.Errorf("walked: %v", all)
	}
	if again := slices.Collect(seq); !slices.Equal(all, again) {
		t.Errorf("ranged over again: %v", again)
	}
	deferred, after := 0, false
	for v := range Generate(func(yield func(int)) {
		defer func() { deferred++ }()
		for i := range 10 {
			yield(i)
		}
		after = true
	}) {
		if v == 3 {
			break
		}
	}
	if deferred != 1 || after {
		t.Errorf("left early: %d deferred calls have run, it went on: %v", deferred, after)
	}
}

// Panics of the function and of the loop's body are those of any iterator; one that swallows the
// end is told.
func TestGeneratePanics(t *testing.T) {
	for want, f := range map[string]func(){
		"of the body": func() {
			for range Generate(func(yield func(int)) { yield(1) }) {
				panic("of the body")
			}
		},
		"of the function": func() {
			for range Generate(func(yield func(int)) { panic("of the function") }) {
				t.Error("a value")
			}
		},
		"of a deferred call": func() {
			for range Generate(func(yield func(int)) {
				defer panic("of a deferred call")
				yield(1)
			}) {
				break
			}
		},
		"after the loop was left": func() {
			for range Generate(func(yield func(int)) {
				func() {
					defer func() { _ = recover() }()
					yield(1)
				}()
				yield(2)
			}) {
				break
			}
		},
	} {
		func() {
			defer func() {
				if s := fmt.Sprint(recover()); !strings.Contains(s, want) {
					t.Errorf("panic with %q, want %q", s, want)
				}
			}()
			f()
		}()
	}
}

// All yields what is yielded, and an error last; to leave it closes.
func TestAll(t *testing.T) {
	deferred := 0
	count := func(err error) *Coroutine[int, int] {
		return NewFunc(func(co *Co[int, int], in int) (int, error) {
			defer func() { deferred++ }()
			for i := range 3 {
				in += co.Yield(in + i)
			}
			return 100, err
		})
	}
	var got []int
	for v, err := range count(nil).All(1) {
		if err != nil {
			t.Error(err)
		}
		got = append(got, v)
	}
	if !slices.Equal(got, []int{1, 3, 5}) {
		t.Errorf("got %v", got)
	}
	var errs []error
	for _, err := range count(io.EOF).All(1) {
		errs = append(errs, err)
	}
	if len(errs) != 4 || errs[3] != io.EOF || errors.Join(errs[:3]...) != nil {
		t.Errorf("errors: %v", errs)
	}
	c := count(nil)
	for range c.All(1) {
		break
	}
	if c.State() != Done || deferred != 3 {
		t.Errorf("left: %v, %d deferred calls", c.State(), deferred)
	}
}

// An ErrDone that comes from inside is an error like any other: it does not look like the end.
func TestErrDoneFromInside(t *testing.T) {
	inner := FromSeq(slices.Values([]int{1}))
	for range inner.All(struct{}{}) {
	}
	fails := func() *Coroutine[int, int] {
		return NewFunc(func(co *Co[int, int], _ int) (int, error) {
			co.Yield(1)
			return inner.Resume(struct{}{}) // by mistake: it has ended
		})
	}
	var errs []error
	for _, err := range fails().All(0) {
		errs = append(errs, err)
	}
	if !slices.Equal(errs, []error{nil, ErrDone}) {
		t.Errorf("errors: %v", errs)
	}
	c := fails()
	for range 2 {
		if _, err := c.Resume(0); err != nil && err != ErrDone {
			t.Error(err)
		}
	}
	if c.Err() != ErrDone {
		t.Errorf("Err: %v", c.Err())
	}
	for v, err := range c.All(0) { // of one that had ended before there is nothing to say
		t.Error(v, err)
	}
	if inner.Err() != nil || inner.State() != Done {
		t.Errorf("the iterator's end is the error %v", inner.Err())
	}
}

func TestFromSeq(t *testing.T) {
	c := FromSeq(slices.Values([]string{"a", "b"}))
	for _, want := range []string{"a", "b"} {
		if v, err := c.Resume(struct{}{}); v != want || err != nil {
			t.Fatal(v, err)
		}
	}
	for range 2 {
		if v, err := c.Resume(struct{}{}); v != "" || err != ErrDone {
			t.Fatal(v, err)
		}
	}
	var got []int
	for v, err := range FromSeq(Generate(grow(1, 5).walk)).All(struct{}{}) {
		if err != nil {
			t.Error(err)
		}
		got = append(got, v)
	}
	if !slices.Equal(got, []int{1, 2, 3, 4, 5}) {
		t.Errorf("got %v", got)
	}
	left := false
	c2 := FromSeq(func(yield func(int) bool) {
		defer func() { left = true }()
		for yield(1) {
		}
	})
	if _, err := c2.Resume(struct{}{}); err != nil {
		t.Fatal(err)
	}
	if err := c2.Close(); err != nil || !left {
		t.Errorf("closed: %v, left: %v", err, left)
	}
}
