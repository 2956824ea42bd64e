package share

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// basket is what all queues can.
type basket[T any] interface {
	Put(ctx context.Context, v T) error
	TryPut(v T) error
	PutAll(ctx context.Context, items ...T) (int, error)
	Len() int
	Cap() int
	Full() bool
	Empty() bool
	Close() error
	Abort(err error) error
}

var (
	_ basket[int] = (*Queue[int])(nil)
	_ basket[int] = (*Stack[int])(nil)
	_ basket[int] = (*JoinableQueue[int])(nil)
)

func TestQueueOrder(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[int](s, "q", 10))
		st := must(NewStack[int](s, "s", 10))
		p := must(NewPriorityQueue[string](s, "p", 10))
		for i := range 10 {
			if err := errors.Join(q.Put(ctx, i), st.TryPut(i), p.Put(ctx, string(rune('a'+i)), int64(i%3-1))); err != nil {
				t.Fatal(err)
			}
		}
		if !q.Full() || q.Len() != 10 || q.Empty() || q.Cap() != 10 {
			t.Error(q.Full(), q.Len(), q.Empty(), q.Cap())
		}
		if err := q.TryPut(10); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		var a, b []int
		var c []string
		for range 10 {
			a = append(a, must(q.Get(ctx)))
			b = append(b, must(st.TryGet()))
			c = append(c, must(p.Get(ctx)))
		}
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(a, want) {
			t.Error(a)
		}
		if want := []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}; !slices.Equal(b, want) {
			t.Error(b)
		}
		if want := []string{"a", "d", "g", "j", "b", "e", "h", "c", "f", "i"}; !slices.Equal(c, want) {
			t.Error(c)
		}
		if _, err := q.TryGet(); !errors.Is(err, ErrEmpty) {
			t.Error(err)
		}
	})
}

func BenchmarkQueueAlone(b *testing.B) {
	for _, kind := range []string{"local", "shared"} {
		b.Run(kind, func(b *testing.B) {
			s := Local()
			if kind == "shared" {
				s = must(New())
			}
			defer s.Close()
			q := must(NewQueue[int](s, "q", 1000))
			ctx := context.Background()
			for b.Loop() {
				if err := q.Put(ctx, 1); err != nil {
					b.Fatal(err)
				}
				if _, err := q.Get(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("channel", func(b *testing.B) {
		c := make(chan int, 1000)
		for b.Loop() {
			c <- 1
			<-c
		}
	})
}

func BenchmarkQueuePair(b *testing.B) {
	for _, kind := range []string{"local", "shared"} {
		b.Run(kind, func(b *testing.B) {
			s := Local()
			if kind == "shared" {
				s = must(New())
			}
			defer s.Close()
			q := must(NewQueue[int](s, "q", 1000))
			ctx := context.Background()
			go func() {
				for i := range b.N {
					if err := q.Put(ctx, i); err != nil {
						b.Error(err)
					}
				}
			}()
			for range b.N {
				if _, err := q.Get(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("channel", func(b *testing.B) {
		c := make(chan int, 1000)
		go func() {
			for i := range b.N {
				c <- i
			}
		}()
		for range b.N {
			<-c
		}
	})
}

func BenchmarkQueueLarge(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			s := must(New())
			defer s.Close()
			q := must(NewQueue[[]byte](s, "q", 1000))
			ctx := context.Background()
			v := make([]byte, size)
			b.SetBytes(int64(size))
			var puts, gets time.Duration
			var into []byte
			for b.Loop() {
				t0 := time.Now()
				if err := q.Put(ctx, v); err != nil {
					b.Fatal(err)
				}
				t1 := time.Now()
				if err := q.GetInto(ctx, &into); err != nil {
					b.Fatal(err)
				}
				puts += t1.Sub(t0)
				gets += time.Since(t1)
			}
			b.ReportMetric(float64(puts.Nanoseconds())/float64(b.N), "ns/put")
			b.ReportMetric(float64(gets.Nanoseconds())/float64(b.N), "ns/get")
		})
	}
}
