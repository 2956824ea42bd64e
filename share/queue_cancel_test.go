package share

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
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
