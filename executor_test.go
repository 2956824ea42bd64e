package brood

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// The conformance suite: what every executor does alike.

var (
	// wait takes as long as it is told, unless its context ends first.
	wait = NewFunc("test/wait", func(ctx context.Context, d time.Duration) (time.Duration, error) {
		select {
		case <-time.After(d):
			return d, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	})
	failing = NewFunc("test/failing", func(_ context.Context, which string) (int, error) {
		return 0, fmt.Errorf("it failed: %w", failures[which])
	})
	deadline = NewFunc("test/deadline", func(ctx context.Context, _ struct{}) (bool, error) {
		_, ok := ctx.Deadline()
		return ok, nil
	})
	strandOf = NewFunc("test/strand", func(ctx context.Context, _ struct{}) (Strand, error) { return *Current(ctx), nil })
	stubborn = NewFunc("test/stubborn", func(ctx context.Context, _ struct{}) (string, error) {
		<-ctx.Done()
		return "a result all the same", nil
	})
)

var errOurs = RegisterError("test.errOurs", errors.New("a sentinel of the program"))

var failures = map[string]error{
	"EOF": io.EOF, "canceled": context.Canceled, "deadline": context.DeadlineExceeded, "not exist": fs.ErrNotExist,
	"path": &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, "closed": ErrClosed, "ours": errOurs,
	"two": errors.Join(io.ErrUnexpectedEOF, errOurs), "unknown": errors.New("nobody knows"),
}

func TestOutcomes(t *testing.T) {
	onEach(t, PoolOptions{Workers: 2}, func(t *testing.T, p testPool) {
		ctx := t.Context()
		for i := range 50 {
			if v, err := square.Call(ctx, p, i); v != i*i || err != nil {
				t.Fatalf("Call(%d) = %d, %v", i, v, err)
			}
		}
		var fs []*Future[int]
		for i := range 2000 {
			fs = append(fs, square.Submit(ctx, p, i))
		}
		for i, f := range fs {
			if v, err := f.Result(ctx); v != i*i || err != nil {
				t.Fatalf("Submit(%d) = %d, %v", i, v, err)
			}
			if f.State() != Succeeded {
				t.Fatalf("a task with a result is %v", f.State())
			}
		}
		if f := failing.Submit(ctx, p, "EOF"); f.State() == Succeeded {
			t.Error("succeeded")
		} else if _, err := f.Result(ctx); err == nil || f.State() != Failed {
			t.Errorf("%v, %v", f.State(), err)
		}
		// Counted before it is published, so no wait.
		if s := p.Stats(); s.Done != 2050 || s.Failed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestErrorsKeepTheirIdentity(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		for which, want := range failures {
			_, err := failing.Call(t.Context(), p, which)
			if err == nil || !strings.Contains(err.Error(), "it failed: "+want.Error()) {
				t.Errorf("%s: %v", which, err)
			}
			if which != "path" && which != "two" && which != "unknown" && !errors.Is(err, want) {
				t.Errorf("%s: errors.Is does not find it in %v", which, err)
			}
		}
		_, err := failing.Call(t.Context(), p, "path")
		if !errors.Is(err, fs.ErrPermission) || !errors.Is(err, syscall.EACCES) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("path: %v", err)
		}
		_, err = failing.Call(t.Context(), p, "two")
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, errOurs) {
			t.Errorf("two: %v", err)
		}
	})
}

// An error may be as long as it likes.
func TestLongErrors(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		for _, n := range []int{1 << 10, 64 << 10, 3 << 20} {
			_, err := wordy.Call(t.Context(), p, n)
			if !errors.Is(err, errOurs) || strings.Count(err.Error(), "x") != n {
				t.Errorf("%d: %.60v", n, err)
			}
		}
		if v, err := square.Call(t.Context(), p, 3); v != 9 || err != nil {
			t.Error(v, err)
		}
	})
}

var wordy = NewFunc("test/wordy", func(_ context.Context, n int) (int, error) {
	return 0, fmt.Errorf("%s%w", strings.Repeat("x", n), errOurs)
})

// value has something of every kind that travels.
type value struct {
	Bool    bool
	Int     int64
	Float   float64
	Text    string
	Bytes   []byte
	Nothing []byte
	Strings []string
	Table   map[string][]int
	Keys    map[int]string
	Time    time.Time
	Wait    time.Duration
	Pointer *value
	Any     any
	Array   [3]uint8
}

var mirror = NewFunc("test/mirror", func(_ context.Context, v value) (value, error) { return v, nil })

func TestValuesTravelWhole(t *testing.T) {
	now := time.Now().Round(0).UTC()
	for _, v := range []value{
		{},
		{Bool: true, Int: math.MinInt64, Float: math.Inf(-1), Text: "a\x00\xffb", Bytes: []byte{}, Strings: []string{"", "x"}},
		{Table: map[string][]int{"a": {1, 2}, "": nil}, Keys: map[int]string{-1: "x"}, Time: now, Wait: time.Nanosecond, Array: [3]uint8{1, 2, 3}},
		{Pointer: &value{Text: strings.Repeat("long", 50_000), Pointer: &value{Int: 1}}, Any: "text"},
	} {
		onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
			got, err := mirror.Call(t.Context(), p, v)
			if err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, got, v)
			}
		})
	}
}

// roundTrip is a Func for each of the types with a fast path.
func roundTrip[T any](name string) func(*testing.T, testPool, ...T) {
	f := NewFunc("test/round trip "+name, func(_ context.Context, v T) (T, error) { return v, nil })
	return func(t *testing.T, p testPool, vs ...T) {
		t.Helper()
		for _, v := range vs {
			if got, err := f.Call(t.Context(), p, v); err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%s: %v came back as %v, %v", name, v, got, err)
			}
		}
	}
}

type (
	celsius float64
	names   []string
	label   string
)

var (
	tripInt     = roundTrip[int]("int")
	tripInt8    = roundTrip[int8]("int8")
	tripUint64  = roundTrip[uint64]("uint64")
	tripFloat32 = roundTrip[float32]("float32")
	tripBool    = roundTrip[bool]("bool")
	tripString  = roundTrip[string]("string")
	tripBytes   = roundTrip[[]byte]("bytes")
	tripCelsius = roundTrip[celsius]("celsius")
	tripNames   = roundTrip[names]("names")
	tripLabel   = roundTrip[label]("label")
	tripNone    = roundTrip[struct{}]("struct{}")
	tripPointer = roundTrip[*int]("pointer")
)

func TestFastPaths(t *testing.T) {
	seven := 7
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		tripInt(t, p, 0, -1, math.MinInt, math.MaxInt)
		tripInt8(t, p, -128, 127)
		tripUint64(t, p, 0, math.MaxUint64)
		tripFloat32(t, p, 0, -1.5, math.MaxFloat32)
		tripBool(t, p, true, false)
		tripString(t, p, "", "text", "\xff\x00", strings.Repeat("x", 200_000))
		tripBytes(t, p, nil, []byte{}, []byte{0}, make([]byte, 63<<10), make([]byte, 64<<10), make([]byte, 3<<20))
		tripCelsius(t, p, -273.15)
		tripNames(t, p, nil, names{"a"})
		tripLabel(t, p, "", "l")
		tripNone(t, p, struct{}{})
		tripPointer(t, p, nil, &seven)
	})
}

var (
	takesChannel = NewFunc("test/takes a channel", func(context.Context, chan int) (int, error) { return 1, nil })
	givesFunc    = NewFunc("test/gives a func", func(context.Context, int) (func(), error) { return func() {}, nil })
)

// What has no encoding fails its own task, and says which type it is.
func TestNoEncoding(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1}, func(t *testing.T, p *ProcessPool) {
		if _, err := takesChannel.Call(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), "encode the argument of test/takes a channel") || !strings.Contains(err.Error(), "chan int") {
			t.Error(err)
		}
		if _, err := givesFunc.Call(t.Context(), p, 1); err == nil || !strings.Contains(err.Error(), "encode the result of test/gives a func") {
			t.Error(err)
		}
		if v, err := square.Call(t.Context(), p, 3); v != 9 || err != nil {
			t.Error(v, err)
		}
	})
}

// Ten slots, an argument that changes after Submit: what counts is what it was.
func TestArgumentIsTakenAtSubmit(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1}, func(t *testing.T, p *ProcessPool) {
		for _, size := range []int{10, 100_000} {
			b := make([]byte, size)
			var fs []*Future[[]byte]
			for i := range 20 {
				for j := range b {
					b[j] = byte(i)
				}
				fs = append(fs, echo.Submit(t.Context(), p, b))
			}
			clear(b)
			for i, f := range fs {
				got, err := f.Result(t.Context())
				if err != nil || len(got) != size || slices.ContainsFunc(got, func(c byte) bool { return c != byte(i) }) {
					t.Fatalf("task %d of %d bytes: %v, %d bytes", i, size, err, len(got))
				}
			}
		}
	})
}

func TestMaxPayload(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1, MaxPayload: 100_000}, func(t *testing.T, p *ProcessPool) {
		if _, err := echo.Call(t.Context(), p, make([]byte, 100_000)); err != nil {
			t.Error(err)
		}
		if _, err := echo.Call(t.Context(), p, make([]byte, 100_001)); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		if _, err := grow.Call(t.Context(), p, 100_001); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "100001 bytes") {
			t.Error(err)
		}
	})
}

var grow = NewFunc("test/grow", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })

func TestMapKeepsOrderAndPlaces(t *testing.T) {
	onEach(t, PoolOptions{Workers: 3}, func(t *testing.T, p testPool) {
		i := 0
		for v, err := range mixed.Map(t.Context(), p, numbers(500)) {
			if i%7 == 3 {
				if !errors.Is(err, errOurs) {
					t.Fatalf("place %d: %v", i, err)
				}
			} else if v != i || err != nil {
				t.Fatalf("place %d: %d, %v", i, v, err)
			}
			i++
		}
		if i != 500 {
			t.Errorf("%d outcomes", i)
		}
		seen := make(map[int]bool)
		bad := 0
		for v, err := range mixed.MapUnordered(t.Context(), p, numbers(500)) {
			if err != nil {
				bad++
			} else {
				seen[v] = true
			}
		}
		if len(seen)+bad != 500 || bad != 71 {
			t.Errorf("%d good, %d bad", len(seen), bad)
		}
		for range square.Map(t.Context(), p, numbers(0)) {
			t.Error("an outcome of nothing")
		}
	})
}

var mixed = NewFunc("test/mixed", func(_ context.Context, n int) (int, error) {
	if n%7 == 3 {
		return 0, errOurs
	}
	return n, nil
})

// numbers yields 0 to n-1.
func numbers(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// The input may have no end: no more is taken than is in flight, and a consumer
// that stops ends it.
func TestMapIsLazy(t *testing.T) {
	onEach(t, PoolOptions{Workers: 2}, func(t *testing.T, p testPool) {
		taken := 0
		endless := func(yield func(int) bool) {
			for ; yield(taken); taken++ {
			}
		}
		n := 0
		for range square.Map(t.Context(), p, endless) {
			if n++; n == 10 {
				break
			}
		}
		if taken > 1000 {
			t.Errorf("%d taken for 10", taken)
		}
		ctx, cancel := context.WithCancel(t.Context())
		last := error(nil)
		for _, err := range square.Map(ctx, p, endless) {
			if n++; n == 20 {
				cancel()
			}
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("a Map that was cut short ends with %v", last)
		}
		cancel()
	})
}

func TestCancel(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		ctx := t.Context()
		running := untilDone.Submit(ctx, p, struct{}{})
		eventually(t, "it runs", func() bool { return running.State() == Running })
		queued := square.Submit(ctx, p, 1)
		if s := queued.State(); s != Queued {
			t.Errorf("behind a running one: %v", s)
		}
		if !queued.Cancel() || queued.Cancel() {
			t.Error("the first Cancel must say true, the second false")
		}
		if _, err := queued.Result(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a queued task ends at once, with %v", err)
		}
		running.Cancel()
		if _, err := running.Result(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if running.Cancel() {
			t.Error("cancelled what has ended")
		}
		// A function that returns a result all the same has it.
		f := stubborn.Submit(ctx, p, struct{}{})
		eventually(t, "it runs", func() bool { return f.State() == Running })
		f.Cancel()
		if v, err := f.Result(ctx); v == "" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if v, err := square.Call(ctx, p, 3); v != 9 || err != nil {
			t.Error(v, err)
		}
	})
}

// The context of Submit bounds the task, that of Result the wait.
func TestContexts(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		waiting, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		f := wait.Submit(t.Context(), p, 50*time.Millisecond)
		if _, err := f.Result(waiting); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := f.Result(t.Context()); err != nil {
			t.Errorf("the end of a wait ended the task: %v", err)
		}
		why := errors.New("why it was")
		ctx, cancel := context.WithCancelCause(t.Context())
		f = wait.Submit(ctx, p, time.Hour)
		behind := square.Submit(ctx, p, 2)
		eventually(t, "it runs", func() bool { return f.State() == Running })
		cancel(why)
		if _, err := f.Result(t.Context()); !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
			t.Errorf("want the error of the context and its cause: %v", err)
		}
		// The worker may have been faster than the news.
		if v, err := behind.Result(t.Context()); err == nil && v != 4 || err != nil && (!errors.Is(err, context.Canceled) || !errors.Is(err, why)) {
			t.Errorf("behind it: %d, %v", v, err)
		}
		ctx, stop = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		if _, err := wait.Call(ctx, p, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		ctx, stop = context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if has, err := deadline.Call(ctx, p, struct{}{}); !has || err != nil {
			t.Errorf("the deadline did not travel: %v", err)
		}
		if has, _ := deadline.Call(context.WithoutCancel(ctx), p, struct{}{}); has {
			t.Error("a deadline from nowhere")
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestTaskTimeout(t *testing.T) {
	o := PoolOptions{Workers: 1, TaskTimeout: 100 * time.Millisecond, Grace: 50 * time.Millisecond}
	onEach(t, o, func(t *testing.T, p testPool) {
		var timeout *TimeoutError
		_, err := untilDone.Call(t.Context(), p, struct{}{})
		if !errors.As(err, &timeout) || timeout.Killed || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("obeyed: %v", err)
		}
		_, isProcess := p.(*ProcessPool)
		if isProcess { // a goroutine would be left behind
			_, err = deaf.Call(t.Context(), p, struct{}{})
			if !errors.As(err, &timeout) || !timeout.Killed || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("deaf: %v", err)
			}
		}
		// The clock starts with the task, not with the queue.
		var fs []*Future[time.Duration]
		for range 8 {
			fs = append(fs, wait.Submit(t.Context(), p, 40*time.Millisecond))
		}
		for _, f := range fs {
			if _, err := f.Result(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

var release = make(chan struct{}) // of abandoned goroutines

var held = NewFunc("test/held", func(context.Context, struct{}) (int, error) { <-release; return 0, nil })

// A goroutine can't be killed: its task ends, its place stays taken.
func TestAbandoned(t *testing.T) {
	watchdog(t, time.Minute)
	p := newThreads(t, PoolOptions{Workers: 1, Grace: -1})
	f := held.Submit(t.Context(), p, struct{}{})
	eventually(t, "it runs", func() bool { return f.State() == Running })
	behind := square.Submit(t.Context(), p, 4)
	f.Cancel()
	if _, err := f.Result(t.Context()); !errors.Is(err, ErrAbandoned) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if s := p.Stats(); s.Running != 1 || behind.State() != Queued {
		t.Errorf("the place is not taken: %+v", s)
	}
	close(release)
	if v, err := behind.Result(t.Context()); v != 16 || err != nil {
		t.Error(v, err)
	}
}

func TestMaxPending(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1, MaxPending: 2}, func(t *testing.T, p testPool) {
		ctx, cancel := context.WithCancel(t.Context())
		a, b := untilDone.Submit(ctx, p, struct{}{}), untilDone.Submit(ctx, p, struct{}{})
		if _, err := square.TrySubmit(ctx, p, 1); !errors.Is(err, ErrFull) {
			t.Errorf("a third one: %v", err)
		}
		short, stop := context.WithTimeout(ctx, 5*time.Millisecond)
		defer stop()
		if _, err := square.Submit(short, p, 1).Result(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		third := make(chan *Future[int])
		go func() { third <- square.Submit(t.Context(), p, 5) }()
		a.Cancel()
		admitted := <-third // there was room, but b runs before it
		cancel()
		if v, err := admitted.Result(t.Context()); v != 25 || err != nil {
			t.Error(v, err)
		}
		b.Result(t.Context())
		eventually(t, "there is room again", func() bool {
			f, err := square.TrySubmit(t.Context(), p, 2)
			if err == nil {
				f.Result(t.Context())
			}
			return err == nil
		})
	})
}

func TestCloseEndsWhoWaitsForRoom(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1, MaxPending: 1, Grace: -1}, func(t *testing.T, p testPool) {
		first := untilDone.Submit(t.Context(), p, struct{}{})
		waiting := make(chan error)
		go func() { waiting <- second(square.Submit(t.Context(), p, 5).Result(t.Context())) }()
		p.Close()
		if err := <-waiting; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := first.Result(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := square.Call(t.Context(), p, 1); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
}

func TestShutdownDrains(t *testing.T) {
	onEach(t, PoolOptions{Workers: 2}, func(t *testing.T, p testPool) {
		var fs []*Future[time.Duration]
		for range 6 {
			fs = append(fs, wait.Submit(t.Context(), p, 10*time.Millisecond))
		}
		short, stop := context.WithTimeout(t.Context(), time.Microsecond)
		defer stop()
		if err := p.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := square.Call(t.Context(), p, 1); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		for _, f := range fs {
			if f.State() != Succeeded {
				t.Errorf("after Shutdown a task is %v", f.State())
			}
		}
	})
}

// Whoever submits while a pool closes gets a result or ErrClosed.
func TestSubmitAndCloseRace(t *testing.T) {
	for _, e := range executors {
		t.Run(e.name, func(t *testing.T) {
			watchdog(t, time.Minute)
			for range 10 {
				p := e.new(t, PoolOptions{Workers: 2, Grace: -1})
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						for i := range 200 {
							f := square.Submit(context.Background(), p, i)
							if v, err := f.Result(context.Background()); err != nil && !errors.Is(err, ErrClosed) || err == nil && v != i*i {
								t.Errorf("%d, %v", v, err)
							}
						}
					})
				}
				square.Call(context.Background(), p, 1)
				p.Close()
				wg.Wait()
			}
		})
	}
}

func TestCallbacks(t *testing.T) {
	onEach(t, PoolOptions{Workers: 2}, func(t *testing.T, p testPool) {
		var wg sync.WaitGroup
		var calls atomic.Int64
		for i := range 50 {
			f := square.Submit(t.Context(), p, i)
			var order []int
			for k := range 3 {
				wg.Add(1)
				f.OnDone(func(g *Future[int]) {
					defer wg.Done()
					calls.Add(1)
					if v, err := g.Result(context.Background()); g != f || v != i*i || err != nil {
						t.Errorf("callback of %d: %d, %v", i, v, err)
					}
					_ = order
					_ = k
				})
			}
		}
		wg.Wait()
		if n := calls.Load(); n != 150 {
			t.Errorf("%d calls of 150 callbacks", n)
		}
		// Those registered before the outcome come in their order.
		ctx, cancel := context.WithCancel(t.Context())
		f := untilDone.Submit(ctx, p, struct{}{})
		got := make(chan int, 5)
		for k := range 5 {
			f.OnDone(func(*Future[struct{}]) { got <- k })
		}
		cancel()
		for k := range 5 {
			if n := <-got; n != k {
				t.Errorf("callback %d came as number %d", n, k)
			}
		}
	})
}

func TestWaitAndAsCompleted(t *testing.T) {
	onEach(t, PoolOptions{Workers: 4}, func(t *testing.T, p testPool) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		slow := wait.Submit(ctx, p, time.Hour)
		fast := wait.Submit(ctx, p, time.Millisecond)
		done, pending, err := Wait(ctx, FirstCompleted, slow, fast)
		if err != nil || len(done) != 1 || done[0] != fast || len(pending) != 1 {
			t.Errorf("first completed: %v %v %v", done, pending, err)
		}
		short, stop := context.WithTimeout(ctx, time.Millisecond)
		defer stop()
		if done, pending, err = Wait(short, All, slow, fast); len(done) != 1 || len(pending) != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("all, in no time: %v %v %v", done, pending, err)
		}
		bad := failing.Submit(ctx, p, "EOF")
		if bads, _, err := Wait(ctx, FirstError, bad); len(bads) != 1 || err != nil {
			t.Errorf("first error: %v %v", bads, err)
		}
		short, stop = context.WithTimeout(ctx, time.Millisecond)
		defer stop()
		if _, pending, err := Wait(short, FirstError, slow, fast); len(pending) != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no error comes: %v %v", pending, err)
		}
		var order []*Future[time.Duration]
		for f := range AsCompleted(ctx, slow, fast) {
			order = append(order, f)
			cancel()
		}
		if len(order) == 0 || order[0] != fast {
			t.Errorf("as completed: %v", order)
		}
		if done, pending, err := Wait[int](t.Context(), All); len(done)+len(pending) != 0 || err != nil {
			t.Error("of nothing")
		}
	})
}

func TestNamesAndStrands(t *testing.T) {
	for _, e := range executors {
		t.Run(e.name, func(t *testing.T) {
			watchdog(t, time.Minute)
			p := e.new(t, PoolOptions{Workers: 1, Name: "crew"})
			s, err := strandOf.Call(t.Context(), p, struct{}{})
			if err != nil || !strings.HasPrefix(s.Name, "crew-") || s.PID == 0 || (s.PID == os.Getpid()) == e.processes {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
	if s := Current(t.Context()); s.Name != "anonymous" {
		t.Errorf("%v", s)
	}
}

func TestResize(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1, Grace: -1}, func(t *testing.T, p testPool) {
		ctx, cancel := context.WithCancel(t.Context())
		var fs []*Future[struct{}]
		for range 6 {
			fs = append(fs, untilDone.Submit(ctx, p, struct{}{}))
		}
		running := func(n int) func() bool { return func() bool { return p.Stats().Running == n } }
		eventually(t, "one runs", running(1))
		if err := p.Resize(3); err != nil {
			t.Fatal(err)
		}
		eventually(t, "three run", running(3))
		if err := p.Resize(0); err == nil {
			t.Error("no workers")
		}
		if err := p.Resize(2); err != nil {
			t.Fatal(err)
		}
		if n := p.Stats().Running; n != 3 {
			t.Errorf("a Resize ended what ran: %d", n)
		}
		cancel()
		for _, f := range fs {
			if _, err := f.Result(t.Context()); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if v, err := square.Call(t.Context(), p, 3); v != 9 || err != nil {
			t.Error(v, err)
		}
	})
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []PoolOptions{{Workers: -1}, {MaxPending: -1}, {TaskTimeout: -1}, {Memory: 100}, {Output: 9}, {MinWorkers: 5, Workers: 2}, {Encode: true}} {
		if p, err := NewProcessPool(o); err == nil {
			p.Close()
			t.Errorf("%+v was taken", o)
		}
	}
	if _, err := NewThreadPool(PoolOptions{Memory: 1 << 30}); err == nil {
		t.Error("a ThreadPool with a memory limit")
	}
	if _, err := NewThreadPool(PoolOptions{Policy: &sched.FCFS{}}); err == nil {
		t.Error("a ThreadPool with a policy")
	}
	for name, f := range map[string]func(){
		"late":  func() { NewFunc("test/late", func(context.Context, int) (int, error) { return 0, nil }) },
		"empty": func() { NewFunc("", func(context.Context, int) (int, error) { return 0, nil }) },
		"nil":   func() { NewFunc[int, int]("test/nil", nil) },
		"taken": func() { RegisterError("test.errOurs", io.EOF) },
	} {
		func() {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "brood: ") {
					t.Errorf("%s: %v", name, v)
				}
			}()
			f()
		}()
	}
}

// A Task is plain data: another package can run it somewhere else.
type elsewhere struct{ t *testing.T }

func (e elsewhere) TryExecute(t *Task) error { return e.Execute(t.Context(), t) }

func (e elsewhere) Execute(_ context.Context, t *Task) error {
	arg, err := t.Encode()
	if err != nil {
		return err
	}
	go func() {
		out, err := RunEncoded(t.Context(), t.Func(), arg)
		t.Resolve(out, err)
		if t.Resolve(nil, io.EOF) {
			e.t.Error("a second outcome was taken")
		}
	}()
	return nil
}

func TestExecutorFromOutside(t *testing.T) {
	ex := elsewhere{t}
	if v, err := square.Call(t.Context(), ex, 12); v != 144 || err != nil {
		t.Error(v, err)
	}
	if _, err := failing.Call(t.Context(), ex, "EOF"); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if _, err := RunEncoded(t.Context(), "nobody", nil); err == nil {
		t.Error("ran a function that is not there")
	}
	f := untilDone.Submit(t.Context(), ex, struct{}{})
	f.Cancel()
	if _, err := f.Result(t.Context()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
