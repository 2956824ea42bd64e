package coro

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// long makes tests go on for longer: make long.
var long = os.Getenv("BROOD_LONG") != ""

func TestMain(m *testing.M) {
	runtime.AddCleanup(new([16]byte), func(int) {}, 0)
	runtime.GC() // the runtime's goroutines for cleanups stay, whoever is the first to need them
	code := m.Run()
	if left := leftGoroutines(); left != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// coroutines is how many goroutines there are that this package has made.
func coroutines() int {
	return strings.Count(stacks(), "brood/coro.(*")
}

func stacks() string {
	buf := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return string(buf[:n])
		}
		buf = make([]byte, 2*len(buf))
	}
}

// leftGoroutines waits for those that are on their way out, and describes those that stay.
func leftGoroutines() (left string) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if coroutines() == 0 {
			return ""
		}
	}
	return stacks()
}

// eventually waits until f is true; it is for what has no event.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("in 10 s, never: %s", what)
		}
	}
}

// run runs a loop, and dumps all stacks if it does not end.
func run(t *testing.T, l *Loop) error {
	t.Helper()
	timer := time.AfterFunc(time.Minute, func() {
		fmt.Fprintf(os.Stderr, "%s has not ended\n%s", t.Name(), stacks())
		os.Exit(3)
	})
	defer timer.Stop()
	return l.Run(context.Background())
}

// runs is run for a loop that has no error.
func runs(t *testing.T, l *Loop) {
	t.Helper()
	if err := run(t, l); err != nil {
		t.Fatal(err)
	}
}
