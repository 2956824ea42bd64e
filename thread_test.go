package brood

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/share"
)

var errThread = errors.New("the thread's error")

// Each way to end is an outcome, which Join returns again and again.
func TestThreadOutcomes(t *testing.T) {
	watchdog(t, time.Minute)
	logged := captureLog(t)
	var panicked *PanicError
	for _, c := range []struct {
		name string
		fn   func(context.Context) error
		is   func(error) bool
	}{
		{"returns", func(context.Context) error { return nil }, func(err error) bool { return err == nil }},
		{"fails", func(context.Context) error { return errThread }, func(err error) bool { return err == errThread }},
		{"panics", func(context.Context) error { panic("as asked") }, func(err error) bool {
			return errors.As(err, &panicked) && panicked.Value == "as asked" && panicked.Task == "panics" && bytes.Contains(panicked.Stack, []byte("TestThreadOutcomes"))
		}},
		{"exits", func(context.Context) error { runtime.Goexit(); return nil }, func(err error) bool { return err == ErrGoexit }},
	} {
		release := make(chan struct{})
		th := Go(t.Context(), ThreadOptions{Name: c.name}, func(ctx context.Context) error {
			<-release
			return c.fn(ctx)
		})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := th.Join(ended); !errors.Is(err, context.Canceled) || !th.Alive() {
			t.Errorf("%s: Join returns %v before the end, alive %v", c.name, err, th.Alive())
		}
		joined := make(chan error)
		go func() { joined <- th.Join(t.Context()) }()
		for th.awaited.Load() == 0 { // a panic that somebody waits for is not logged
			runtime.Gosched()
		}
		close(release)
		if err := <-joined; !c.is(err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := th.Join(ended); !c.is(err) || th.Alive() || th.Name() != c.name {
			t.Errorf("%s: later %v, alive %v, name %q", c.name, err, th.Alive(), th.Name())
		}
		<-th.Done()
	}
	if logged.Len() > 0 {
		t.Errorf("logged: %s", logged)
	}
	th := Go(t.Context(), ThreadOptions{Name: "alone"}, func(context.Context) error { panic("alone") })
	eventually(t, "the panic of a thread that nobody joins is logged", func() bool { return strings.Contains(logged.String(), "alone panicked") })
	if err := th.Join(t.Context()); !errors.As(err, &panicked) {
		t.Error(err)
	}
}

// lockedBuffer may be written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *lockedBuffer) Len() int { return len(b.String()) }

// captureLog lets the default logger write into memory.
func captureLog(t *testing.T) *lockedBuffer {
	b, before := new(lockedBuffer), slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(b, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return b
}

// A thread has an identity, and is listed as long as it lives.
func TestThreadIdentity(t *testing.T) {
	watchdog(t, time.Minute)
	before := len(ActiveThreads())
	release := make(chan struct{})
	var all []*Thread
	seen := make(chan *Strand, 3)
	for _, name := range []string{"a", "", "c"} {
		all = append(all, Go(t.Context(), ThreadOptions{Name: name, Daemon: name == "c"}, func(ctx context.Context) error {
			seen <- Current(ctx)
			<-release
			return nil
		}))
	}
	ids := map[uint64]bool{}
	for range all {
		s := <-seen
		ids[s.ID] = true
		if i := slices.IndexFunc(all, func(th *Thread) bool { return th.Strand() == s }); i < 0 || s.Kind != strand.Thread || s.PID != os.Getpid() || s.Name != all[i].Name() {
			t.Errorf("current is %+v", s)
		}
	}
	if len(ids) != 3 || !strings.HasPrefix(all[1].Name(), "thread-") || all[0].Daemon() || !all[2].Daemon() {
		t.Errorf("ids %v, names %q, daemons %v %v", ids, all[1].Name(), all[0].Daemon(), all[2].Daemon())
	}
	if active := ActiveThreads(); !slices.Equal(active[before:], all) {
		t.Errorf("%d threads are listed", len(active))
	}
	close(release)
	for _, th := range all {
		if err := th.Join(t.Context()); err != nil {
			t.Error(err)
		}
		if slices.Contains(ActiveThreads(), th) {
			t.Error("a joined thread is still listed")
		}
	}
}

// counterType is a type with a Run method.
type counterType struct{ n int }

func (c *counterType) Run(context.Context) error {
	c.n++
	return nil
}

// The second way to start a thread; and its memory is ours.
func TestThreadOfAType(t *testing.T) {
	var c counterType
	if err := Go(t.Context(), ThreadOptions{}, c.Run).Join(t.Context()); err != nil || c.n != 1 {
		t.Error(c.n, err)
	}
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "brood: Go: the function is nil") {
			t.Errorf("%v", p)
		}
	}()
	Go(t.Context(), ThreadOptions{}, nil)
}

// A thread's context ends with the one that it was started with, by Cancel, and when the
// function has returned. All threads of a context cost it one registration.
func TestThreadContexts(t *testing.T) {
	watchdog(t, time.Minute)
	inner, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	ctx := &countingContext{Context: inner}
	untilEnd := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	var all []*Thread
	for range 100 {
		all = append(all, Go(ctx, ThreadOptions{}, untilEnd))
	}
	if now, most := ctx.now(); now != 1 || most != 1 {
		t.Errorf("%d registrations, at most %d", now, most)
	}
	all[0].Cancel()
	if err := all[0].Join(t.Context()); err != context.Canceled {
		t.Error(err)
	}
	cancel()
	for _, th := range all[1:] {
		if err := th.Join(t.Context()); err != context.Canceled {
			t.Error(err)
		}
	}
	other := &countingContext{Context: t.Context()}
	for range 100 {
		all = append(all, Go(other, ThreadOptions{}, func(context.Context) error { return nil }))
	}
	for _, th := range all[100:] {
		th.Join(t.Context())
	}
	if now, most := other.now(); now != 1 || most != 1 {
		t.Errorf("%d registrations, at most %d, of threads that have ended: want the one that is kept", now, most)
	}
	third, stopThird := context.WithCancel(t.Context())
	defer stopThird()
	Go(third, ThreadOptions{}, func(context.Context) error { return nil }).Join(t.Context())
	if now, _ := other.now(); now != 0 {
		t.Errorf("%d registrations are left after a thread of another context", now)
	}
	late := Go(inner, ThreadOptions{}, untilEnd)
	if err := late.Join(t.Context()); err != context.Canceled {
		t.Error("started with an ended context:", err)
	}
	deadline, stop := context.WithTimeout(t.Context(), time.Nanosecond)
	defer stop()
	if err := Go(deadline, ThreadOptions{}, untilEnd).Join(t.Context()); err != context.DeadlineExceeded {
		t.Error(err)
	}
	var left context.Context
	Go(t.Context(), ThreadOptions{}, func(ctx context.Context) error { left = ctx; return nil }).Join(t.Context())
	if left.Err() == nil {
		t.Error("the context of a thread that has ended has not")
	}
}

// Who joins himself, or one that joins him, would wait for ever; also by way of a lock.
func TestThreadDeadlocks(t *testing.T) {
	watchdog(t, time.Minute)
	self := make(chan *Thread, 1)
	th := Go(t.Context(), ThreadOptions{Name: "self"}, func(ctx context.Context) error { return (<-self).Join(ctx) })
	self <- th
	var d *DeadlockError
	if err := th.Join(t.Context()); !errors.As(err, &d) || !strings.Contains(err.Error(), `thread "self"`) || strings.Contains(err.Error(), "Guard") {
		t.Error(err)
	}
	var pair [2]*Thread
	made := make(chan struct{})
	for i := range pair {
		pair[i] = Go(t.Context(), ThreadOptions{}, func(ctx context.Context) error {
			<-made
			return pair[1-i].Join(ctx)
		})
	}
	close(made)
	told := 0
	for _, th := range pair { // the one that is told ends with it, and the other with what it has joined
		if err := th.Join(t.Context()); errors.As(err, &d) && len(d.Edges) == 2 {
			told++
		}
	}
	if told == 0 {
		t.Error("nobody was told")
	}
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	outer := Go(t.Context(), ThreadOptions{Name: "outer"}, func(ctx context.Context) error {
		g, err := lock.Acquire(ctx)
		if err != nil {
			return err
		}
		defer g.Release()
		return Go(ctx, ThreadOptions{Name: "inner"}, func(ctx context.Context) error {
			g, err := lock.Acquire(ctx)
			if err == nil {
				g.Release()
			}
			return err
		}).Join(ctx)
	})
	if err := outer.Join(t.Context()); !errors.As(err, &d) || !strings.Contains(err.Error(), `"outer"`) || !strings.Contains(err.Error(), `"inner"`) {
		t.Error(err)
	}
}

// A lock that a thread still holds when it ends is taken back, and its error says so.
func TestThreadHolds(t *testing.T) {
	watchdog(t, time.Minute)
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	th := Go(t.Context(), ThreadOptions{Name: "keeps"}, func(ctx context.Context) error {
		lock.Acquire(ctx)
		return errThread
	})
	var held *HeldError
	if err := th.Join(t.Context()); !errors.As(err, &held) || held.Task != "keeps" || !errors.Is(err, errThread) {
		t.Error(err)
	}
	if g, err := lock.Acquire(t.Context()); err != nil || !g.Recovered() {
		t.Error(err)
	}
}

// The first thread of a group that fails ends the others' contexts, and Wait returns its error.
func TestGroup(t *testing.T) {
	watchdog(t, time.Minute)
	logged := captureLog(t)
	g := NewGroup(t.Context())
	var cause atomic.Value
	for range 5 {
		g.Go(ThreadOptions{}, func(ctx context.Context) error {
			g.Go(ThreadOptions{}, func(ctx context.Context) error { // one that a thread of the group has started
				<-ctx.Done()
				cause.Store(context.Cause(ctx))
				return ctx.Err()
			})
			<-ctx.Done()
			return ctx.Err()
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Wait(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	failed := g.Go(ThreadOptions{}, func(context.Context) error { return errThread })
	if err := g.Wait(t.Context()); err != errThread || cause.Load() != errThread || failed.Alive() {
		t.Errorf("%v, cause %v", err, cause.Load())
	}
	if err := g.Go(ThreadOptions{}, func(ctx context.Context) error { return ctx.Err() }).Join(t.Context()); err != context.Canceled {
		t.Error("after the failure:", err)
	}
	good := NewGroup(t.Context())
	var n atomic.Int32
	for range 100 {
		good.Go(ThreadOptions{}, func(context.Context) error { n.Add(1); return nil })
	}
	if err := good.Wait(t.Context()); err != nil || n.Load() != 100 {
		t.Error(n.Load(), err)
	}
	bad := NewGroup(t.Context())
	bad.Go(ThreadOptions{Name: "p"}, func(context.Context) error { panic("in a group") })
	var panicked *PanicError
	if err := bad.Wait(t.Context()); !errors.As(err, &panicked) || logged.Len() > 0 {
		t.Errorf("%v, logged %s", err, logged)
	}
	if bad.active.first != nil || good.active.first != nil {
		t.Error("ended threads are kept")
	}
}

// Threads start and end by the thousand, and are looked at meanwhile.
func TestThreadStorm(t *testing.T) {
	watchdog(t, time.Minute)
	rounds := 200
	if long {
		rounds = 20_000
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watching := Go(t.Context(), ThreadOptions{}, func(context.Context) error {
		for ctx.Err() == nil {
			for _, th := range ActiveThreads() {
				fmt.Fprint(io.Discard, th.Name(), th.Alive())
			}
		}
		return nil
	})
	var n atomic.Int64
	g := NewGroup(t.Context())
	for range 8 {
		g.Go(ThreadOptions{}, func(ctx context.Context) error {
			for i := range rounds {
				inner, stop := context.WithCancel(ctx)
				a := Go(inner, ThreadOptions{}, func(ctx context.Context) error { n.Add(1); <-ctx.Done(); return nil })
				b := Go(inner, ThreadOptions{}, func(context.Context) error { n.Add(1); return errThread })
				if i%2 == 0 {
					a.Cancel()
				}
				err := b.Join(ctx)
				stop()
				if err2 := a.Join(ctx); err != errThread || err2 != nil {
					return fmt.Errorf("round %d: %v, %v", i, err, err2)
				}
			}
			return nil
		})
	}
	if err := g.Wait(t.Context()); err != nil || n.Load() != int64(16*rounds) {
		t.Errorf("%d, %v", n.Load(), err)
	}
	cancel()
	if err := watching.Join(t.Context()); err != nil {
		t.Error(err)
	}
}
