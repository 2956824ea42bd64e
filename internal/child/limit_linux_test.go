package child

import (
	"syscall"
	"testing"
	"time"
)

func TestWallLimit(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := open(t)
		spec := sh("sleep 1000 & sleep 1000")
		spec.Wall = 50 * time.Millisecond
		rep, _, _ := mustRun(t, s, spec)
		took := rep.End.Sub(rep.Start)
		if rep.Reason != Timeout || rep.Signal != syscall.SIGTERM || took < spec.Wall {
			t.Errorf("after %v: %+v", took, rep)
		}
		spec = sh("exit 3")
		spec.Wall = time.Hour
		if rep, _, _ = mustRun(t, s, spec); rep.Reason != Exited || rep.Code != 3 {
			t.Errorf("within the limit: %+v", rep)
		}
	})
}

func TestCPULimit(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := open(t)
		spec := sh("while :; do :; done & while :; do :; done")
		spec.CPU, spec.Wall = 100*time.Millisecond, 20*time.Second
		rep, _, _ := mustRun(t, s, spec)
		// Two processes share the limit; clock ticks of 10 ms are what is seen of each.
		if rep.Reason != CPUTime || rep.User+rep.System < 80*time.Millisecond {
			t.Errorf("%+v", rep)
		}
	})
}

// limitWays are the ways by which memory is limited.
func limitWays(t *testing.T, f func(t *testing.T, s *Slot)) {
	for _, way := range []struct{ name, env string }{{"kernel", ""}, {"v1", "v2"}, {"watched", "1"}} {
		t.Run(way.name, func(t *testing.T) {
			t.Setenv(noCgroupVar, way.env)
			done := make(chan struct{})
			Go(func() {
				defer close(done)
				s, err := Open(SlotOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				f(t, s)
			})
			<-done
		})
	}
}

// A slot on the main thread must not put the whole process under its job's
// limit: there the tree is watched.
func TestMemoryLimitOnMainThread(t *testing.T) {
	cmd, out := prepare(t, "main thread")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, out.text())
	}
	if out.text() != "memory false\n" {
		t.Errorf("got %q, want the reason, and no group used", out.text())
	}
}

// A tree over its limit is ended in the middle of the job, for that reason; the
// next one on the same slot is not touched.
func TestMemoryLimit(t *testing.T) {
	limitWays(t, func(t *testing.T, s *Slot) {
		for range 2 {
			spec := self("eat", "400")
			spec.Memory = 100 << 20
			spec.Wall = 30 * time.Second
			rep, out, _ := mustRun(t, s, spec)
			if rep.Reason != Memory || rep.Signal != syscall.SIGKILL || rep.PeakSource == PeakUnknown {
				t.Errorf("%+v %q", rep, out)
			}
			spec = self("eat", "20")
			spec.Memory = 100 << 20
			rep, out, _ = mustRun(t, s, spec)
			if !rep.OK() || out != "ready\n" {
				t.Errorf("under the limit: %+v", rep)
			}
		}
		rep, _, _ := mustRun(t, s, self("eat", "200")) // no limit any more
		if !rep.OK() {
			t.Errorf("without a limit: %+v", rep)
		}
	})
}

// The limit is that of the whole tree: three processes below it are together above it.
func TestMemoryLimitOfTree(t *testing.T) {
	limitWays(t, func(t *testing.T, s *Slot) {
		eat := self("eat")
		spec := sh(`"$1" 60 </dev/tty & "$1" 60 & "$1" 60 & wait; echo survived; sleep 1000`, eat.Path)
		spec.Args[2] = `mkfifo "$2/f"; exec 3<>"$2/f"; for i in 1 2 3; do "$1" 60 <&3 & done; wait; sleep 1000`
		spec.Args = append(spec.Args, t.TempDir())
		spec.Env = eat.Env
		spec.Memory = 150 << 20
		spec.Wall = 30 * time.Second
		rep, out, _ := mustRun(t, s, spec)
		if rep.Reason != Memory || rep.End.Sub(rep.Start) > 20*time.Second {
			t.Errorf("%+v %q", rep, out)
		}
	})
}

// The peak is the tree's own, not one inherited from a large parent.
func TestPeak(t *testing.T) {
	big := make([]byte, 200<<20)
	for i := 0; i < len(big); i += 4096 {
		big[i] = 1
	}
	defer func() { big[0]++ }()
	limitWays(t, func(t *testing.T, s *Slot) {
		spec := self("eat", "50")
		spec.Memory = 1 << 30
		spec.Stdin = nil
		rep, _, _ := mustRun(t, s, spec)
		if rep.Peak < 45<<20 && rep.PeakSource == PeakCgroup || rep.Peak > 120<<20 {
			t.Errorf("peak of a child of 50 MiB: %d MiB, %v", rep.Peak>>20, rep.PeakSource)
		}
		rep, _, _ = mustRun(t, s, &Spec{Path: "/bin/true"})
		if rep.Peak > 50<<20 {
			t.Errorf("peak of true: %d MiB, %v", rep.Peak>>20, rep.PeakSource)
		}
	})
}
