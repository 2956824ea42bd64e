package futex

import (
	"errors"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/shm"
)

const roleVar = "FUTEX_TEST_ROLE"

// The child plays ping-pong on the word at 0 until it finds the word at 64 set.
func TestMain(m *testing.M) {
	if os.Getenv(roleVar) == "" {
		os.Exit(m.Run())
	}
	mem, err := shm.Open(os.NewFile(3, "memory"))
	if err != nil {
		panic(err)
	}
	w, end := mem.Uint32(0), mem.Uint32(64)
	for end.Load() == 0 {
		if w.CompareAndSwap(1, 0) {
			Wake(w, 1)
			continue
		}
		if err := Wait(w, 0, time.Second); err != nil && os.Getppid() == 1 {
			os.Exit(1) // the test is gone
		}
	}
	os.Exit(0)
}

// partner starts the child.
func partner(tb testing.TB) (w *atomic.Uint32) {
	tb.Helper()
	mem, err := shm.Create("futex", 4096)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVar+"=1")
	cmd.ExtraFiles = []*os.File{mem.File()}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	w = mem.Uint32(0)
	tb.Cleanup(func() {
		mem.Uint32(64).Store(1)
		w.Store(2)
		Wake(w, All)
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
		mem.Close()
	})
	return w
}

// pingPong makes one round trip.
func pingPong(tb testing.TB, w *atomic.Uint32) {
	w.Store(1)
	Wake(w, 1)
	for w.Load() != 0 {
		if err := Wait(w, 1, 10*time.Second); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestPingPong(t *testing.T) {
	w := partner(t)
	for range 10000 {
		pingPong(t, w)
	}
}

func TestWait(t *testing.T) {
	var w atomic.Uint32
	w.Store(7)
	if err := Wait(&w, 8, 0); err != nil {
		t.Errorf("Wait for a word that has changed: %v", err)
	}
	if err := Wait(&w, 7, time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("Wait with a timeout: %v", err)
	}
	if n := Wake(&w, All); n != 0 {
		t.Errorf("Wake found %d sleepers, there are none", n)
	}
	done := make(chan error)
	go func() { done <- Wait(&w, 7, 0) }()
	for Wake(&w, 1) == 0 {
	}
	if err := <-done; err != nil {
		t.Errorf("Wait that was woken: %v", err)
	}
}

// BenchmarkPingPong is the floor of every round trip between two processes that sleep.
func BenchmarkPingPong(b *testing.B) {
	w := partner(b)
	for b.Loop() {
		pingPong(b, w)
	}
}

func BenchmarkWakeNobody(b *testing.B) {
	mem, err := shm.Create("futex", 4096)
	if err != nil {
		b.Fatal(err)
	}
	defer mem.Close()
	w := mem.Uint32(0)
	for b.Loop() {
		Wake(w, 1)
	}
}

// A mask tells sleepers apart; Wake takes them all.
func TestMask(t *testing.T) {
	var w atomic.Uint32
	if woken, err := WaitMask(&w, 1, 1); woken || err != nil {
		t.Errorf("WaitMask for a word that has changed: %v, %v", woken, err)
	}
	type result struct {
		mask  uint32
		woken bool
		err   error
	}
	done := make(chan result, 2)
	sleep := func(mask uint32) {
		woken, err := WaitMask(&w, 0, mask)
		done <- result{mask, woken, err}
	}
	go sleep(1)
	go sleep(4)
	for WakeMask(&w, All, 4) == 0 {
	}
	if r := <-done; r != (result{4, true, nil}) {
		t.Errorf("waking 4 gives %+v", r)
	}
	if n := WakeMask(&w, All, 2|4|8); n != 0 {
		t.Errorf("%d sleepers have a bit that nobody has", n)
	}
	for Wake(&w, 1) == 0 {
	}
	if r := <-done; r != (result{1, true, nil}) {
		t.Errorf("waking all gives %+v", r)
	}
}
