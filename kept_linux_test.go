package brood

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// readPipe returns once somebody has written to the named pipe.
var readPipe = NewFunc("test/read pipe", func(_ context.Context, path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(b), err
})

// pipes makes named pipes.
func pipes(t *testing.T, n int) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// finish lets the tasks end, one after another, and wants each one's result.
func finish(t *testing.T, paths []string, fs []*Future[string]) {
	t.Helper()
	for i, f := range fs {
		written := make(chan error, 1)
		go func() { written <- os.WriteFile(paths[i], []byte("go"), 0) }()
		if v, err := f.Result(t.Context()); v != "go" || err != nil {
			t.Fatalf("task %d: %q, %v", i, v, err)
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
}

func collect() {
	for range 5 {
		runtime.GC()
		runtime.Gosched()
	}
}

// A pool is in use as long as a deferred call of a method is to come: the compiler
// must not have reduced it to what is embedded.
func TestDeferredCloseKeepsPool(t *testing.T) {
	watchdog(t, time.Minute)
	p, err := NewProcessPool(PoolOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	submit := p.Execute // a method that was taken from it is use as well
	defer p.Close()
	collect()
	paths := pipes(t, 2)
	var fs []*Future[string]
	for _, path := range paths {
		fs = append(fs, readPipe.Submit(t.Context(), executeFunc(submit), path))
		collect()
	}
	finish(t, paths, fs)
}

// executeFunc is an executor that has but this one method of another.
type executeFunc func(context.Context, *Task) error

func (f executeFunc) Execute(ctx context.Context, t *Task) error { return f(ctx, t) }
func (f executeFunc) TryExecute(t *Task) error                   { return f(context.Background(), t) }

// Who waits for room keeps the pool.
func TestWaitingForRoomKeepsPool(t *testing.T) {
	watchdog(t, time.Minute)
	paths := pipes(t, 2)
	first, second := make(chan *Future[string]), make(chan *Future[string])
	go func() {
		p, err := NewProcessPool(PoolOptions{Workers: 1, MaxPending: 1})
		if err != nil {
			t.Error(err)
			close(first)
			return
		}
		first <- readPipe.Submit(t.Context(), p, paths[0])
		second <- readPipe.Submit(t.Context(), p, paths[1]) // its last use
	}()
	f := <-first
	if f == nil {
		return
	}
	collect()
	finish(t, paths[:1], []*Future[string]{f})
	finish(t, paths[1:], []*Future[string]{<-second})
}
