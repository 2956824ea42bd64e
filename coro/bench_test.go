package coro

import (
	"context"
	"iter"
	"runtime"
	"testing"
	"time"
)

// The switch: a Resume and the Yield that answers it.
func BenchmarkResume(b *testing.B) {
	c := New(func(co *Co[int, int], in int) int {
		for {
			in = co.Yield(in + 1)
		}
	})
	defer c.Close()
	for b.Loop() {
		if _, err := c.Resume(1); err != nil {
			b.Fatal(err)
		}
	}
}

// The same by iter.Pull alone.
func BenchmarkPull(b *testing.B) {
	next, stop := iter.Pull(func(yield func(int) bool) {
		for yield(1) {
		}
	})
	defer stop()
	for b.Loop() {
		next()
	}
}

func BenchmarkChannels(b *testing.B) {
	there, back := make(chan int), make(chan int)
	go func() {
		for n := range there {
			back <- n + 1
		}
		close(back)
	}()
	for b.Loop() {
		there <- 1
		<-back
	}
	close(there)
}

func BenchmarkGenerate(b *testing.B) {
	seq := Generate(func(yield func(int)) {
		for {
			yield(1)
		}
	})
	b.ResetTimer()
	n := 0
	for range seq {
		if n++; n >= b.N {
			break
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		c := New(func(co *Co[int, int], in int) int { return in })
		if _, err := c.Resume(1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewPull(b *testing.B) {
	for b.Loop() {
		next, _ := iter.Pull(func(yield func(int) bool) {})
		next()
	}
}

// A task's turn in a loop of two.
func BenchmarkPass(b *testing.B) {
	l := NewLoop(Options{})
	for range 2 {
		l.Go("", func(ctx context.Context) error {
			for range b.N / 2 {
				if err := Pass(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	b.ResetTimer()
	if err := l.Run(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// A task from its start to its end.
func BenchmarkGo(b *testing.B) {
	l := NewLoop(Options{})
	l.Go("", func(ctx context.Context) error {
		for range b.N {
			l.Go("", func(context.Context) error { return nil })
			if err := Pass(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	b.ResetTimer()
	b.ReportAllocs()
	if err := l.Run(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// sleepers is how much memory each of n tasks takes that sleep at once, in bytes.
func sleepers(n int, clock Clock) (perTask float64, err error) {
	l := NewLoop(Options{Clock: clock})
	before := inUse()
	var after uint64
	for range n {
		l.Go("", func(ctx context.Context) error { return Sleep(ctx, time.Second) })
	}
	l.Go("", func(ctx context.Context) error {
		after = inUse()
		return nil
	})
	err = l.Run(context.Background())
	return float64(after-before) / float64(n), err
}

// inUse is the memory of heap and stacks.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse + m.OtherSys
}

func BenchmarkSleepers(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		bytes, err := sleepers(n, Virtual)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(bytes, "B/task")
	}
}
