package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

func TestMain(m *testing.M) {
	brood.Init() // the scripts' brood is this test binary, and so is its warden
	if filepath.Base(os.Args[0]) != "brood" {
		os.Setenv("BROOD_HISTORY", "") // no test writes to the user's; the scripts have one each
	}
	if err := flag.Set("test.parallel", "4"); err != nil { // most scripts mostly wait
		panic(err)
	}
	testscript.Main(m, map[string]func(){"brood": main, "hold": hold, "knock": knock})
}

// hold is the script program "hold SPACE": it takes part in a space, takes a lock, two permits of
// three, an event and an item of a queue, sets what it is given as ready, and waits until its input
// ends.
func hold() {
	brood.Init()
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	space, err := share.Open(os.Args[1])
	must(err)
	lock, err := space.Lock("door")
	must(err)
	sem, err := space.BoundedSemaphore("places", 3)
	must(err)
	event, err := space.Event("bus")
	must(err)
	g, err := lock.Acquire(ctx)
	must(err)
	p, err := sem.AcquireN(ctx, 2)
	must(err)
	must(fill(ctx, space))
	if len(os.Args) > 2 {
		go event.Wait(ctx)
		for { // until somebody waits
			info, err := share.Inspect(os.Args[1])
			must(err)
			if i := slices.IndexFunc(info.Objects, func(o share.ObjectInfo) bool { return o.Name == "bus" }); len(info.Objects[i].Waiters) > 0 {
				break
			}
		}
		must(os.WriteFile(os.Args[2], nil, 0o600))
	}
	io.Copy(io.Discard, os.Stdin)
	p.Release()
	g.Release()
	must(space.Close())
}

// knock is the test program "knock NAME": it asks the batch at a socket to pause, whoever it is, and
// prints the answer.
func knock() {
	c, err := net.Dial("unix", os.Args[1])
	if err != nil {
		fmt.Println(err)
		return
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintln(c, `{"do":"pause"}`)
	b, err := io.ReadAll(c)
	fmt.Printf("%q %v", b, err)
}

// fill makes queues in which there is something.
func fill(ctx context.Context, space *share.Space) error {
	orders, err := share.NewQueue[string](space, "orders", 6)
	if err != nil {
		return err
	}
	dishes, err := share.NewJoinableQueue[string](space, "dishes", share.JoinableOptions{Capacity: 4})
	if err != nil {
		return err
	}
	_, waiter, err := share.NewPipe[string](space, "hatch", share.PipeOptions{})
	if err != nil {
		return err
	}
	_, err1 := orders.PutAll(ctx, "soup", "fish", "cake")
	_, err2 := dishes.PutAll(ctx, "soup", "fish")
	_, err3 := dishes.Get(ctx)
	return errors.Join(err1, err2, err3, orders.Close(), waiter.Send(ctx, "ready"))
}

// TestScript runs the command as people do. Each script leaves the directory
// for temporary files as empty as it found it.
func TestScript(t *testing.T) {
	// Under nohup what the scripts start would ignore HUP. What is caught here is not
	// ignored there.
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangUp) })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			tmp := filepath.Join(e.WorkDir, ".tmp")
			e.Setenv("TMPDIR", tmp)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("LC_ALL", "C")
			e.Setenv("SHELL", "/bin/sh")
			e.Setenv("GORACE", "atexit_sleep_ms=50") // else each brood that ends well sleeps for a second under -race
			e.Setenv("BROOD_HISTORY", filepath.Join(e.WorkDir, ".history.db"))
			e.Setenv("BROOD_SPACE_DIR", filepath.Join(e.WorkDir, ".spaces"))
			e.Defer(func() {
				left, err := os.ReadDir(tmp)
				if err != nil || len(left) > 0 {
					t.Errorf("left in TMPDIR: %v %v", left, err)
				}
			})
			return os.MkdirAll(tmp, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lines": countLines,
		},
	})
}

// countLines is the script command "lines N FILE": the file has N lines.
func countLines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: lines N FILE")
	}
	n := 0
	for _, c := range ts.ReadFile(args[1]) {
		if c == '\n' {
			n++
		}
	}
	if args[0] != strconv.Itoa(n) {
		ts.Fatalf("%s has %d lines, want %s", args[1], n, args[0])
	}
}
