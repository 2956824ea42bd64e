package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tree that ends at the first signal ends at once; the report says who asked.
func TestStop(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		p, out, wait := background(t, sh("sleep 1000 & echo $! > /dev/null; echo ready $$ $!; wait"))
		line := out.line("ready")
		p.Stop(Cancelled)
		rep := wait()
		if rep.Reason != Cancelled || rep.Signal != syscall.SIGTERM {
			t.Errorf("%+v", rep)
		}
		for _, pid := range pids(line) {
			if alive(pid) {
				t.Errorf("process %d lives", pid)
			}
		}
		if err := p.Signal(unix.SIGCONT); !errors.Is(err, ErrEnded) {
			t.Errorf("Signal after the end: %v", err)
		}
	})
}

// A tree that takes no notice of TERM gets three of them, and then KILL.
func TestStopSequence(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		spec := sh(`trap 'echo term' TERM; echo ready; while :; do read x < /dev/zero; done 2>/dev/null`)
		spec.Args = []string{"sh", "-c", `trap 'echo term' TERM; echo ready; i=0; while :; do i=$((i+1)); done`}
		p, out, wait := background(t, spec)
		p.Stop(Timeout)
		rep := wait()
		if rep.Reason != Timeout || rep.Signal != syscall.SIGKILL {
			t.Errorf("%+v", rep)
		}
		if n := strings.Count(out.text(), "term\n"); n != 3 {
			t.Errorf("it saw %d TERM signals, want 3:\n%s", n, out.text())
		}
	})
}

// Kill skips the rest of the sequence.
func TestKill(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		spec := sh(`trap '' TERM; echo ready; while :; do :; done`)
		spec.Stop = []Step{{syscall.SIGTERM, time.Hour}}
		p, _, wait := background(t, spec)
		p.Stop(Cancelled)
		p.Kill(Cancelled)
		if rep := wait(); rep.Signal != syscall.SIGKILL || rep.Reason != Cancelled {
			t.Errorf("%+v", rep)
		}
	})
}

// A slot whose job was killed serves the next one.
func TestRunAfterKill(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := open(t)
		for range 3 {
			spec := sh("sleep 1000")
			spec.Stop = []Step{}
			spec.Wall = time.Millisecond
			if rep, _, _ := mustRun(t, s, spec); rep.Reason != Timeout || rep.Signal != syscall.SIGKILL {
				t.Errorf("%+v", rep)
			}
			if rep, out, _ := mustRun(t, s, sh("echo fine")); !rep.OK() || out != "fine\n" {
				t.Errorf("after a kill: %+v", rep)
			}
		}
	})
}

// What called setsid belongs to the tree: it is stopped with it, although it
// takes no notice of anything but KILL.
func TestStopReachesSetsid(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		p, out, wait := background(t, sh(`setsid sh -c 'trap "" TERM; echo ready $$; while :; do :; done' & wait`))
		escaped := pids(out.line("ready"))[0]
		p.Stop(Cancelled)
		rep := wait()
		if alive(escaped) {
			t.Errorf("process %d outlived its tree: %+v", escaped, rep)
		}
	})
}

// What the leader leaves running is given Linger, then stopped, and counted.
func TestLinger(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := open(t)
		spec := sh(`sleep 1000 & echo $!`)
		spec.Linger = 30 * time.Millisecond
		rep, out, _ := mustRun(t, s, spec)
		if !rep.OK() || rep.Left != 1 || alive(pids(out)[0]) {
			t.Errorf("%+v, pid %s", rep, out)
		}
		if took := rep.End.Sub(rep.Start); took > time.Second {
			t.Errorf("the leader's end is noted %v after its start", took)
		}
		// Output of a grandchild within Linger is not lost.
		_, out, _ = mustRun(t, s, sh(`(sleep 0.05; echo late) & echo early`))
		if out != "early\nlate\n" {
			t.Errorf("output %q", out)
		}
	})
}

// The one stated limit: without a cgroup, a process that left the session,
// cleared its environment and lost its parent is not found. It must still not
// hold up its job, though it holds the job's output.
func TestStatedLimit(t *testing.T) {
	// The leader leaves once the other one is out, however busy the machine is.
	const script = `env -i setsid sh -c 'echo ready $$; : > "$0"; exec sleep 1000' "$1" & while ! [ -e "$1" ]; do :; done`
	t.Run("mark", func(t *testing.T) {
		t.Setenv(noCgroupVar, "1")
		s := open(t)
		spec := sh(script, filepath.Join(t.TempDir(), "out"))
		spec.Linger = 50 * time.Millisecond
		rep, out, _ := mustRun(t, s, spec)
		pid := pids(out)[0]
		defer syscall.Kill(pid, syscall.SIGKILL)
		if !rep.OK() || !alive(pid) {
			t.Errorf("the documented limit has moved: process %d, %+v", pid, rep)
		}
	})
	t.Run("cgroup", func(t *testing.T) {
		t.Setenv(noCgroupVar, "")
		skipWithoutCgroup(t)
		s := open(t)
		spec := sh(script, filepath.Join(t.TempDir(), "out"))
		spec.Linger = 50 * time.Millisecond
		rep, out, _ := mustRun(t, s, spec)
		if pid := pids(out)[0]; alive(pid) || rep.Left != 1 {
			t.Errorf("process %d escaped from the cgroup: %+v", pid, rep)
		}
	})
}

// Closing a slot ends what called setsid and was not looked for.
func TestCloseSweeps(t *testing.T) {
	t.Setenv(noCgroupVar, "1")
	s, err := Open(SlotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.scanCost.Store(int64(time.Hour)) // no scan is cheap enough
	s.scanAt.Store(time.Now().UnixNano())
	_, out, _ := mustRun(t, s, sh(`pid=$(setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' &); echo $pid`))
	s.Close()
	if pid := pids(out)[0]; alive(pid) {
		t.Errorf("process %d lives", pid)
	}
}

// cpuOf is the CPU time of some processes, in ticks, as the kernel counts it for each thread.
func cpuOf(t *testing.T, procs []int) (ns int64) {
	t.Helper()
	for _, pid := range procs {
		dir, err := os.ReadDir("/proc/" + itoa(pid) + "/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range dir {
			b, _ := os.ReadFile("/proc/" + itoa(pid) + "/task/" + e.Name() + "/schedstat")
			n := int64(0)
			for _, c := range strings.Fields(string(b))[0] {
				n = n*10 + int64(c-'0')
			}
			ns += n
		}
	}
	return ns
}

func itoa(n int) string {
	var b [20]byte
	i := len(b)
	for ; n > 0 || i == len(b); n /= 10 {
		i--
		b[i] = byte('0' + n%10)
	}
	return string(b[i:])
}

// burn uses the CPU for a while, so that a process that is not stopped would run.
func burn(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}

// Once Pause has returned, no process of the tree uses the CPU, whether it
// called setsid or has several threads; after Resume they all do.
func TestPauseIsExact(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		spin := self("spin")
		spec := sh(`setsid sh -c 'while :; do :; done' & a=$!
			while :; do :; done & b=$!
			"$1" & c=$!
			echo ready $$ $a $b $c; wait`, spin.Path)
		spec.Env = spin.Env
		p, out, wait := background(t, spec)
		tree := pids(out.line("ready "))
		for round := range 5 {
			if err := pause(p); err != nil {
				t.Fatal(err)
			}
			before := cpuOf(t, tree)
			burn(20 * time.Millisecond)
			// The kernel calls a cgroup frozen some instructions before the last thread
			// leaves its CPU; one that runs would have used all 20 ms.
			if used := time.Duration(cpuOf(t, tree) - before); used > time.Millisecond {
				t.Fatalf("round %d: the paused tree used %v", round, used)
			}
			if err := p.Resume(); err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(tree); i++ { // the leader waits
				one := tree[i : i+1]
				then := cpuOf(t, one)
				for end := time.Now().Add(10 * time.Second); cpuOf(t, one) < then+int64(time.Millisecond); {
					if time.Now().After(end) {
						t.Fatalf("round %d: process %d does not go on", round, one[0])
					}
				}
			}
		}
		p.Kill(Cancelled)
		if rep := wait(); rep.Paused < 100*time.Millisecond {
			t.Errorf("paused for %v", rep.Paused)
		}
	})
}

// A tree that forks all the time is paused as well: also a parent that sleeps in
// vfork until its child has called exec, which a stop of the child would delay
// for ever: longer than any busy machine takes.
func TestPauseWhileForking(t *testing.T) {
	defer func(d time.Duration) { pauseDeadline = d }(pauseDeadline)
	pauseDeadline = 10 * time.Second
	bothWays(t, func(t *testing.T) {
		p, out, wait := background(t, sh(`setsid sh -c 'while :; do /bin/true; done' & echo ready; while :; do /bin/true; done`))
		out.line("ready")
		for range 50 {
			if err := p.Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.Resume()
			burn(time.Millisecond)
		}
		p.Kill(Cancelled)
		wait()
	})
}

// A tree that can't be stopped, because one of its processes sleeps in vfork and the
// child that it waits for calls no exec, is told after the deadline, and goes on.
func TestPauseThatFails(t *testing.T) {
	t.Setenv(noCgroupVar, "1") // a cgroup freezes that as well
	p, _, wait := background(t, self("vfork"))
	for asleep := false; !asleep; { // uninterruptibly: that is vfork
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
		asleep = slices.ContainsFunc(threads, func(file string) bool {
			b, _ := os.ReadFile(file)
			return strings.Contains(string(b), ") D ")
		})
	}
	if err := p.Pause(t.Context()); !errors.Is(err, ErrNotPaused) {
		t.Errorf("got %v", err)
	}
	if _, paused := p.pauseTime(); paused {
		t.Error("it counts as paused")
	}
	p.Kill(Cancelled)
	if rep := wait(); rep.Signal != unix.SIGKILL {
		t.Errorf("%+v", rep)
	}
}

// Time paused is no part of the wall limit, and a paused tree can be stopped.
func TestPauseAndWallLimit(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		spec := sh("echo ready; sleep 1000")
		spec.Wall = 200 * time.Millisecond
		p, _, wait := background(t, spec)
		if err := pause(p); err != nil {
			t.Fatal(err)
		}
		burn(300 * time.Millisecond)
		if err := p.Resume(); err != nil {
			t.Fatalf("it ended while it was paused: %v", err)
		}
		rep := wait()
		if rep.Reason != Timeout || rep.Paused < 300*time.Millisecond || rep.End.Sub(rep.Start)-rep.Paused < 200*time.Millisecond {
			t.Errorf("%v of %v: %+v", rep.Paused, rep.End.Sub(rep.Start), rep)
		}
	})
}

func TestStopWhilePaused(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		p, out, wait := background(t, sh("trap 'echo asked; exit 5' TERM; echo ready; while :; do :; done"))
		if err := pause(p); err != nil {
			t.Fatal(err)
		}
		p.Stop(Cancelled)
		rep := wait()
		if rep.Code != 5 || !strings.Contains(out.text(), "asked") || rep.Reason != Cancelled {
			t.Errorf("%+v %q", rep, out.text())
		}
		if err := p.Pause(context.Background()); !errors.Is(err, ErrEnded) {
			t.Errorf("Pause after the end: %v", err)
		}
	})
}

// A pause that its context ends leaves the tree running.
func TestPauseCancelled(t *testing.T) {
	p, _, wait := background(t, sh("echo ready; sleep 1000"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Pause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	} else if _, paused := p.pauseTime(); paused != (err == nil) {
		t.Errorf("paused %v after %v", paused, err)
	}
	p.Stop(Cancelled)
	wait()
}

// Nothing outlives a parent killed by SIGKILL: not what runs, not what called
// setsid, not what is paused.
func TestWarden(t *testing.T) {
	const script = `setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' & a=$!
		sleep 1000 & echo ready $$ $a $!; wait`
	bothWays(t, func(t *testing.T) {
		for _, mode := range []string{"running", "paused"} {
			t.Run(mode, func(t *testing.T) {
				cmd, out := prepare(t, "parent", mode, "sh", "-c", script)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				tree := pids(out.line("ready "))
				if len(tree) != 3 {
					t.Fatalf("parent wrote %q", out.text())
				}
				home, _ := cgroupHome("")
				st, _ := readStat(cmd.Process.Pid)
				cmd.Process.Signal(syscall.SIGKILL)
				cmd.Wait()
				for _, pid := range tree {
					awaitDeath(t, pid)
				}
				awaitGone(t, home+"/"+familyPrefix+itoa(st.pid)+"-"+itoa(int(st.start)))
			})
		}
	})
}

// awaitGone waits for a cgroup directory to be removed.
func awaitGone(t *testing.T, dir string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		if _, err := os.Stat(dir); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is left", dir)
		}
	}
}

// A warden that dies is replaced, and the new one guards as the old one did.
func TestWardenDies(t *testing.T) {
	t.Setenv(noCgroupVar, "1")
	s := open(t)
	s.fam.revived = time.Time{} // not twice in a second
	first := s.fam.warden
	syscall.Kill(first, syscall.SIGKILL)
	rep, _, _ := mustRun(t, s, sh("sleep 0.3"))
	if !rep.OK() {
		t.Errorf("%+v", rep)
	}
	if s.fam.warden == first || !alive(s.fam.warden) {
		t.Errorf("warden is %d, was %d", s.fam.warden, first)
	}
}

// skipWithoutCgroup skips a test where the system lets nobody make a cgroup, and says why.
func skipWithoutCgroup(t *testing.T) {
	t.Helper()
	home, err := cgroupHome("")
	if err != nil {
		t.Skip("no cgroup v2 hierarchy here: ", err)
	}
	probe, err := os.MkdirTemp(home, "probe-*")
	if err != nil {
		t.Skip("no cgroup v2 subtree is writable here: ", err)
	}
	os.Remove(probe)
}

// The directory of a killed family whose warden was killed too is swept by the next one.
func TestSweepStaleDirectory(t *testing.T) {
	t.Setenv(noCgroupVar, "")
	skipWithoutCgroup(t)
	home, err := cgroupHome("")
	if err != nil {
		t.Fatal(err)
	}
	stale := home + "/" + familyPrefix + "4194000-12345"
	if err := os.MkdirAll(stale+"/slot1", 0o755); err != nil {
		t.Fatal(err)
	}
	open(t)
	if _, err := os.Stat(stale); err == nil {
		t.Error("a dead owner's directory was left")
	}
}
