package share

import (
	"errors"
	"slices"
	"testing"
)

// Who wants no items gets none, and keeps none.
func TestGetUpToNone(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		q := must(NewQueue[int](s, "q", 5))
		j := must(NewJoinableQueue[int](s, "j", JoinableOptions{Capacity: 5}))
		is(t, errors.Join(q.TryPut(1), j.TryPut(1)), nil)
		for _, n := range []int{0, -1} {
			if items, err := q.GetUpTo(bounded(t), n); err != nil || len(items) > 0 || q.Len() != 1 {
				t.Errorf("%d: got %v, %v, %d are left", n, items, err, q.Len())
			}
			if items, err := j.GetUpTo(bounded(t), n); err != nil || len(items) > 0 || j.Len() != 1 {
				t.Errorf("%d: got %v, %v, %d are left", n, items, err, j.Len())
			}
		}
	})
}

// undecodables is a test of what can't be decoded in a batch: strings among ints.
func undecodables(t *testing.T, closed bool, test func(t *testing.T, s *Space, what func(basket[int], basket[string]))) {
	for _, sub := range shared {
		t.Run(sub.name, func(t *testing.T) {
			test(t, sub.new(t, Options{}), func(ints basket[int], strings basket[string]) {
				ctx := bounded(t)
				is(t, errors.Join(ints.Put(ctx, 1), strings.Put(ctx, "2"), ints.Put(ctx, 3), strings.Put(ctx, "4")), nil)
				if closed {
					is(t, ints.Close(), nil)
				}
			})
		})
	}
}

// What can't be decoded is in the error, also when these were the last items of a closed queue.
func TestGetUpToUndecodable(t *testing.T) {
	for _, closed := range []bool{false, true} {
		undecodables(t, closed, func(t *testing.T, s *Space, fill func(basket[int], basket[string])) {
			q := must(NewQueue[int](s, "q", 5))
			fill(q, must(NewQueue[string](s, "q", 5)))
			items, err := q.GetUpTo(bounded(t), 10)
			if found := decodeErrors(err); !slices.Equal(items, []int{1, 3}) || len(found) != 2 || string(found[0].Data) != "2" || string(found[1].Data) != "4" {
				t.Errorf("closed %v: %v, %v", closed, items, err)
			}
		})
		undecodables(t, closed, func(t *testing.T, s *Space, fill func(basket[int], basket[string])) {
			o := JoinableOptions{Capacity: 5}
			q, strings := must(NewJoinableQueue[int](s, "q", o)), must(NewJoinableQueue[string](s, "q", o))
			fill(q, strings)
			items, err := q.GetUpTo(bounded(t), 10)
			if found := decodeErrors(err); len(items) != 2 || items[0].Value != 1 || items[1].Value != 3 || len(found) != 2 {
				t.Errorf("closed %v: %v, %v", closed, items, err)
			}
			for _, want := range []string{"2", "4"} {
				if d := must(strings.Failed(bounded(t))); d.Value != want || d.Done() != nil {
					t.Errorf("closed %v: %q has failed, want %q", closed, d.Value, want)
				}
			}
		})
	}
}
