package space

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/brood-go/brood/internal/cell"
)

// asleep waits until as many goroutines are in Wait on a word, one of them in the
// kernel.
func asleep(t *testing.T, f *File, w cell.Word, n int) {
	t.Helper()
	for ctx := within(t); ; runtime.Gosched() {
		if ctx.Err() != nil {
			t.Fatal(context.Cause(ctx))
		}
		f.mu.Lock()
		found := 0
		if chief := f.chiefs[w.Pointer()]; chief != nil {
			found = 1
			for q := chief.first; q != nil; q = q.next {
				found++
			}
		}
		f.mu.Unlock()
		if found == n && (n == 0 || threadsIn(t) == 1) {
			return
		}
	}
}

func TestWait(t *testing.T) {
	f := open(t, testDir(t), "wait")
	w := object(t, f).Word(0)
	w.Store(1<<32 | 5)
	if err := f.Wait(within(t), w, 6, f.Watch()); err != nil {
		t.Errorf("the word has changed: %v", err)
	}
	if err := f.Wait(within(t), w, 5, f.Watch()+1); err != nil {
		t.Errorf("somebody has died: %v", err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error)
	go func() { done <- f.Wait(ctx, w, 5, f.Watch()) }()
	asleep(t, f, w, 1)
	cancel(why)
	if err := <-done; err != why {
		t.Errorf("the context has ended: %v", err)
	}
	if err := f.Wait(ctx, w, 6, f.Watch()); err != why {
		t.Errorf("the context has ended before: %v", err)
	}
	go func() { done <- f.Wait(context.Background(), w, 5, f.Watch()) }()
	asleep(t, f, w, 1)
	w.Store(2<<32 | 5)
	f.Wake(w, 1)
	if err := <-done; err != nil { // woken, though the low half is the same
		t.Error(err)
	}
	if f.Spin(w, 5) || !f.Spin(w, 6) {
		t.Error("Spin says the wrong thing")
	}
	if a, b := f.Now(), f.Now(); b < a || a <= 0 {
		t.Errorf("time goes from %v to %v", a, b)
	}
}

// Of many goroutines one blocks a thread, whoever of them leaves.
func TestParked(t *testing.T) {
	f := open(t, testDir(t), "parked")
	w := object(t, f).Word(0)
	const n = 20
	cancels := make([]context.CancelFunc, n)
	results := make(chan error, n)
	for i := range n {
		var ctx context.Context
		ctx, cancels[i] = context.WithCancel(context.Background())
		go func() { results <- f.Wait(ctx, w, 0, f.Watch()) }()
		asleep(t, f, w, i+1)
	}
	for i := range n / 2 { // each is the chief when its turn comes; then those in between
		cancels[(i*3)%n]()
		if err := <-results; err != context.Canceled {
			t.Errorf("goroutine %d: %v", i, err)
		}
		asleep(t, f, w, n-1-i)
	}
	w.Store(1)
	f.Wake(w, 1)
	for range n / 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	for _, cancel := range cancels {
		cancel()
	}
	if len(f.chiefs) != 0 {
		t.Errorf("%d words have sleepers", len(f.chiefs))
	}
}

// Goroutines give and take, and give up at random; what they were woken for they pass
// on. A wake-up that is lost ends in a hang.
func TestNothingIsLost(t *testing.T) {
	f := open(t, testDir(t), "lost")
	w := object(t, f).Word(0)
	ctx := within(t)
	rounds := uint64(30_000)
	if testing.Short() {
		rounds = 5_000
	}
	const goroutines = 4
	var taken atomic.Uint64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 5))
			for taken.Load() < rounds {
				own, cancel := context.WithCancel(ctx)
				if rnd.IntN(4) == 0 {
					go cancel()
				}
				v := w.Load()
				if v > 0 {
					if w.CompareAndSwap(v, v-1) && taken.Add(1) == rounds {
						w.Store(1 << 20) // let the others go
						f.Wake(w, cell.All)
					}
				} else if err := f.Wait(own, w, 0, f.Watch()); err != nil && own.Err() == nil {
					t.Error(err)
				} else if err != nil {
					f.Wake(w, 1)
				}
				cancel()
				if ctx.Err() != nil {
					t.Error(context.Cause(ctx))
					return
				}
			}
		})
	}
	for range rounds + goroutines {
		for v := w.Load(); !w.CompareAndSwap(v, v+1); v = w.Load() {
		}
		f.Wake(w, 1)
		runtime.Gosched()
	}
	wg.Wait()
}

// Close ends every Wait and harms nobody, whatever is under way.
func TestClose(t *testing.T) {
	dir := testDir(t)
	for range 20 {
		f := open(t, dir, "close")
		o := object(t, f)
		e, err := f.Extend()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		closed := make(chan struct{})
		for i := range 8 {
			wg.Go(func() {
				w := o.Word(i % 2)
				for f.Wait(context.Background(), w, 0, f.Watch()) != cell.ErrClosed {
				}
			})
		}
		for i := range 2 {
			wg.Go(func() {
				for n, last := 0, false; !last; n++ {
					select {
					case <-closed:
						last = true
					default:
					}
					e.At(i).Store(uint64(n))
					if v := e.At(i).Load(); v != uint64(n) && v != 0 && v != uint64(n-1) {
						t.Errorf("a word is %d after %d was stored", v, n)
					}
					f.Wake(o.Word(i), 1)
					f.Alive(cell.MakeID(3, 1))
					f.Spin(o.Word(0), 0)
					f.Participants()
					_, err := f.Extend()
					_, oerr := f.Object(1, string(rune('a'+n%26)), [2]uint64{})
					for range f.Objects() {
					}
					if last && (err != cell.ErrClosed || oerr != cell.ErrClosed) {
						t.Errorf("after Close: Extend: %v, Object: %v", err, oerr)
					}
				}
			})
		}
		asleep(t, f, o.Word(0), 4)
		f.Close()
		close(closed)
		wg.Wait()
		runtime.GC()
		o.Word(0).Store(1) // f can still be reached
		runtime.KeepAlive(f)
	}
}

// The addresses of a closed space are given back when nothing refers to it.
func TestAddresses(t *testing.T) {
	mapped := func() (n uint64) {
		text, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var from, to uint64
			if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err == nil {
				n += to - from
			}
		}
		return n
	}
	dir, before := testDir(t), mapped()
	const n = 20
	for range n {
		f, err := Open(dir, "addresses")
		if err != nil {
			t.Fatal(err)
		}
		w := object(t, f).Word(0)
		f.Close()
		w.Store(1) // into zeros of our own
		if v := w.Load(); v != 1 {
			t.Errorf("the word is %d", v)
		}
		runtime.KeepAlive(f)
	}
	for ctx := within(t); mapped() > before+n*MaxSize/2; runtime.GC() {
		if ctx.Err() != nil {
			t.Fatalf("%d bytes are mapped, before it were %d", mapped(), before)
		}
	}
}

// Sleeping and waking allocate nothing, and start nothing.
func TestSteadyState(t *testing.T) {
	f := open(t, testDir(t), "steady")
	w, end := object(t, f).Word(0), make(chan struct{})
	before := runtime.NumGoroutine()
	go func() {
		defer close(end)
		for w.Load() != 3 {
			if w.CompareAndSwap(1, 0) {
				f.Wake(w, 1)
			} else {
				_ = f.Wait(context.Background(), w, 0, 0)
			}
		}
	}()
	allocs := testing.AllocsPerRun(2000, func() {
		w.Store(1)
		f.Wake(w, 1)
		for w.Load() != 0 {
			_ = f.Wait(context.Background(), w, 1, 0)
		}
	})
	w.Store(3)
	f.Wake(w, 1)
	<-end
	if allocs >= 1 && !raceEnabled {
		t.Errorf("a round trip allocates %v times", allocs)
	}
	for ctx := within(t); runtime.NumGoroutine() > before; runtime.Gosched() {
		if ctx.Err() != nil {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// BenchmarkPingPong is a round trip between two processes that sleep.
func BenchmarkPingPong(b *testing.B) {
	dir := testDir(b)
	f := open(b, dir, "pingpong")
	w := object(b, f).Word(0)
	p := start(b, dir, "pingpong")
	p.begin("pong")
	d := f.Watch()
	for b.Loop() {
		w.Store(1)
		f.Wake(w, 1)
		for w.Load() != 0 {
			_ = f.Wait(context.Background(), w, 1, d)
		}
	}
	w.Store(3)
	f.Wake(w, 1)
	p.answer()
}

func BenchmarkOpen(b *testing.B) {
	dir := testDir(b)
	for b.Loop() {
		f, err := Open(dir, "open")
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func BenchmarkAlive(b *testing.B) {
	dir := testDir(b)
	f := open(b, dir, "alive")
	p := start(b, dir, "alive")
	for b.Loop() {
		if !f.Alive(p.id) {
			b.Fatal("dead")
		}
	}
}
