package share

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// Puts and gets whose contexts end at any time: an item was put if and only if Put says so, and is got once. Some are
// large, and are read and written outside of the latch.
func TestQueueCancelled(t *testing.T) {
	rounds := 300
	if long {
		rounds = 10_000
	}
	onEach(t, func(t *testing.T, s *Space) {
		for _, k := range []kind{kindQueue, kindStack, kindPriorityQueue} {
			t.Run(k.String(), func(t *testing.T) {
				q := &Queue[string]{must(openQueue[string](s, k, k.String(), 3))}
				var mu sync.Mutex
				put, got := map[string]int{}, map[string]int{}
				all(6, func(n int) {
					for i := range rounds {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%50)*time.Microsecond)
						v := strings.Repeat("x", i%4*100) + " " + string(rune('a'+n)) + " " + time.Duration(i).String()
						var err error
						if n%2 == 0 {
							err = q.Put(ctx, v)
						} else {
							v, err = q.Get(ctx)
						}
						cancel()
						mu.Lock()
						switch {
						case errors.Is(err, context.DeadlineExceeded):
						case err != nil:
							t.Error(err)
						case n%2 == 0:
							put[v]++
						default:
							got[v]++
						}
						mu.Unlock()
					}
				})
				is(t, q.Close(), nil)
				for v, err := range q.All(bounded(t)) {
					is(t, err, nil)
					got[v]++
				}
				for v := range put {
					if got[v] != 1 {
						t.Errorf("%q was put, and got %d times", v, got[v])
					}
				}
				if len(put) != len(got) || len(put) == 0 {
					t.Errorf("%d were put, %d got", len(put), len(got))
				}
				t.Logf("%d items", len(put))
			})
		}
	})
}

// Consumers get items, with contexts that end at any time, and end them, give them back, fail them, or
// end themselves: every item is done once, by a consumer or by who looks after those that failed.
func TestJoinableCancelled(t *testing.T) {
	items := 300
	if long {
		items = 10_000
	}
	onEach(t, func(t *testing.T, s *Space) {
		q := must(NewJoinableQueue[string](s, "j", JoinableOptions{Capacity: 5, InHand: 3, Attempts: 4}))
		ctx := bounded(t)
		var mu sync.Mutex
		done := map[string]int{}
		end := func(d *Delivery[string]) {
			is(t, d.Done(), nil)
			mu.Lock()
			defer mu.Unlock()
			done[d.Value]++
		}
		looked := start(func() {
			for {
				d, err := q.Failed(ctx)
				if err != nil {
					is(t, err, ErrClosed)
					return
				}
				end(d)
			}
		})
		got := start(func() { all(4, func(n int) { consume(t, q, n, end) }) })
		for i := range items {
			is(t, q.Put(ctx, fmt.Sprint(i, " ", strings.Repeat("x", i%4*100))), nil)
		}
		for err := q.Join(ctx); err != nil; err = q.Join(ctx) { // some fail until they are looked after
			if e := new(FailedItemsError); !errors.As(err, &e) {
				t.Fatal(err)
			}
		}
		is(t, q.Close(), nil)
		got()
		looked()
		for v, n := range done {
			if n != 1 {
				t.Errorf("%q was done %d times", v, n)
			}
		}
		if len(done) != items || q.Unfinished() != 0 {
			t.Errorf("%d were done, want %d; %d are not", len(done), items, q.Unfinished())
		}
	})
}

func consume(t *testing.T, q *JoinableQueue[string], n int, end func(d *Delivery[string])) {
	for i := n; ; i++ {
		me := strand.New(strand.Thread, fmt.Sprint(n, " ", i))
		ctx, cancel := context.WithTimeout(strand.With(t.Context(), me), time.Duration(i%50)*10*time.Microsecond)
		all, err := q.GetUpTo(ctx, 1+i%3)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if err != nil {
			is(t, err, ErrClosed)
			return
		}
		for k, d := range all {
			switch (i + k) % 6 {
			case 0:
				is(t, d.Return(), nil)
			case 1:
				is(t, d.Fail(), nil)
			case 2:
				if held := strand.End(me); len(held) != 1 {
					t.Errorf("a strand ends with %v", held)
				}
				is(t, d.Done(), errTakenBackItem)
				for _, d := range all[k+1:] {
					is(t, d.Done(), errTakenBackItem)
				}
			default:
				end(d)
				continue
			}
			if (i+k)%6 == 2 {
				break
			}
		}
	}
}
