package brood

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood/share"
)

var _ = role("threads", func() {
	Main(func(ctx context.Context) error {
		main := make(chan struct{})
		Go(ctx, ThreadOptions{Name: "worker"}, func(context.Context) error {
			<-main
			fmt.Println("the thread ends")
			return nil
		})
		Go(ctx, ThreadOptions{Name: "daemon", Daemon: true}, func(ctx context.Context) error {
			<-ctx.Done()
			fmt.Println("the daemon ends")
			return nil
		})
		Go(ctx, ThreadOptions{Name: "deaf daemon", Daemon: true}, func(context.Context) error { select {} })
		fmt.Println("main ends")
		defer close(main)
		return nil
	})
})

// A program waits for its threads, and not for its daemon threads, whose contexts end.
func TestMainWaitsForThreads(t *testing.T) {
	watchdog(t, time.Minute)
	out, err := inRole("threads").Output()
	if want := "main ends\nthe thread ends\nthe daemon ends\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v", out, err)
	}
}

var _ = role("failing threads", func() {
	Main(func(ctx context.Context) error {
		main := make(chan struct{})
		defer close(main)
		fail := func(context.Context) error { return errors.New("it failed") }
		early := Go(ctx, ThreadOptions{Name: "early"}, fail)
		<-early.Done()
		Go(ctx, ThreadOptions{Name: "joined"}, fail).Join(ctx)
		Go(ctx, ThreadOptions{Name: "late"}, func(ctx context.Context) error {
			<-main
			return fail(ctx)
		})
		obeys := Go(ctx, ThreadOptions{Name: "obeys"}, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		obeys.Cancel()
		<-obeys.Done()
		outer, cancel := context.WithCancelCause(ctx)
		cancel(errors.New("its cause"))
		<-Go(outer, ThreadOptions{Name: "obeys too"}, func(context.Context) error { return outer.Err() }).Done()
		<-Go(outer, ThreadOptions{Name: "says the cause"}, func(ctx context.Context) error { return context.Cause(ctx) }).Done()
		waited, left := NewGroup(ctx), NewGroup(ctx)
		waited.Go(ThreadOptions{Name: "waited"}, fail)
		waited.Wait(ctx)
		<-left.Go(ThreadOptions{Name: "left"}, fail).Done()
		<-left.Go(ThreadOptions{Name: "second"}, fail).Done()
		obedient := NewGroup(ctx)
		first := obedient.Go(ThreadOptions{Name: "obedient"}, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		first.Cancel()
		<-first.Done()
		<-obedient.Go(ThreadOptions{Name: "worse"}, fail).Done()
		return nil
	})
})

// The error of a thread for which nobody asked is not lost, whenever it ended.
func TestMainSaysWhatFailed(t *testing.T) {
	said := runFailing(t, "failing threads")
	want := "brood: thread \"early\": it failed\nbrood: thread \"late\": it failed\nbrood: thread \"left\": it failed\nbrood: thread \"worse\": it failed\n"
	if said != want {
		t.Errorf("it said %q", said)
	}
}

// runFailing runs a program that is to exit with code 1, and returns what it says on standard error.
func runFailing(t *testing.T, role string) string {
	t.Helper()
	watchdog(t, time.Minute)
	cmd := inRole(role)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%s: %v, want exit code 1", role, err)
	}
	return stderr.String()
}

var _ = role("many failures", func() {
	Main(func(ctx context.Context) error {
		var all []*Thread
		for range maxNames + 50 {
			t := Go(ctx, ThreadOptions{}, func(context.Context) error { return errors.New("it failed") })
			<-t.Done()
			all = append(all, t)
		}
		for _, t := range all[:maxNames+20] {
			t.Join(ctx)
		}
		return nil
	})
})

// Of very many that have failed not all are named, but none is forgotten.
func TestMainCountsWhatFailed(t *testing.T) {
	said := runFailing(t, "many failures")
	if said != "brood: 30 threads failed that are not named\n" {
		t.Errorf("it said %q", said)
	}
}

var _ = role("panicking group", func() {
	Main(func(ctx context.Context) error {
		g := NewGroup(ctx)
		<-g.Go(ThreadOptions{Name: "first"}, func(context.Context) error { return errors.New("first") }).Done()
		lock, err := share.Local().Lock("l")
		if err != nil {
			return err
		}
		g.Go(ThreadOptions{Name: "second"}, func(ctx context.Context) error {
			lock.Acquire(ctx)
			panic("second")
		})
		g.Wait(ctx)
		return nil
	})
})

// A panic in a group that had failed before is logged, and fails the program.
func TestPanicInFailedGroup(t *testing.T) {
	said := runFailing(t, "panicking group")
	if !strings.Contains(said, "second panicked") {
		t.Errorf("it said %q", said)
	}
}

var _ = role("stuck thread", func() {
	Main(func(ctx context.Context) error {
		lock, err := share.Local().Lock("l")
		if err != nil {
			return err
		}
		if _, err := lock.Acquire(ctx); err != nil {
			return err
		}
		Go(context.Background(), ThreadOptions{Name: "stuck"}, func(ctx context.Context) error {
			_, err := lock.Acquire(ctx)
			return err
		})
		return nil // with the lock
	})
})

// A program whose thread waits for what main will never give says so, and ends.
func TestMainAndStuckThread(t *testing.T) {
	said := runFailing(t, "stuck thread")
	if strings.Count(said, "deadlock: ") != 1 || strings.Count(said, "\n") > 2 {
		t.Errorf("it said %q", said)
	}
}

var _ = role("signalled threads", func() {
	Main(func(ctx context.Context) error {
		// Not by ctx: the end of the program is what ends its context.
		Go(context.Background(), ThreadOptions{}, func(ctx context.Context) error {
			<-ctx.Done()
			fmt.Println("cleaned up")
			return Go(context.Background(), ThreadOptions{}, func(ctx context.Context) error { // after the signal
				<-ctx.Done()
				return nil
			}).Join(context.Background())
		})
		fmt.Println("ready")
		return nil
	})
})

// After a signal the contexts of threads end, and they are waited for.
func TestThreadsEndBySignal(t *testing.T) {
	watchdog(t, time.Minute)
	cmd := inRole("signalled threads")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	for i, want := range []string{"ready\n", "cleaned up\n"} {
		if line, err := r.ReadString('\n'); line != want {
			t.Errorf("%q, %v, want %q", line, err, want)
		}
		if i == 0 {
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

var startsThread = NewFunc("test/starts a thread", func(ctx context.Context, daemon bool) (int, error) {
	returned := make(chan struct{})
	defer close(returned)
	Go(ctx, ThreadOptions{Daemon: daemon}, func(context.Context) error {
		<-returned
		if daemon {
			select {}
		}
		fmt.Println("the thread ends")
		return nil
	})
	return 1, nil
})

// A process waits for its threads as a program does.
func TestProcessWaitsForThreads(t *testing.T) {
	watchdog(t, time.Minute)
	for _, daemon := range []bool{false, true} {
		p := start(t, startsThread, daemon, ProcessOptions{Pool: PoolOptions{Output: OutputCapture}})
		if n, err := p.Result(t.Context()); n != 1 || err != nil {
			t.Error(n, err)
		}
		if err := p.Join(t.Context()); err != nil {
			t.Error(err)
		}
		if code, _ := p.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if got := strings.Contains(string(p.host.tail.bytes()), "the thread ends"); got == daemon {
			t.Errorf("daemon %v: the thread ended: %v", daemon, got)
		}
	}
}
