package child

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// busy is a shell's way to burn CPU.
const busy = "while :; do :; done"

// lookUntil looks at p until f is content.
func lookUntil(t testing.TB, p *Proc, what string, f func(a Activity) bool) Activity {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		a, err := p.Look(false)
		if err != nil {
			t.Fatal(err)
		}
		if f(a) {
			return a
		}
		if time.Now().After(end) {
			t.Fatalf("never seen: %s; last %+v", what, a)
		}
	}
}

// used waits until p has used so much CPU more, and reports in how many of a
// hundred looks it was runnable.
func used(t *testing.T, p *Proc, more time.Duration) (a Activity, runnable int) {
	t.Helper()
	looks := 0
	var first Activity
	a = lookUntil(t, p, "CPU "+more.String(), func(a Activity) bool {
		if looks++; looks == 1 {
			first = a
		}
		if a.Runnable {
			runnable++
		}
		return a.CPU >= first.CPU+more
	})
	return a, 100 * runnable / looks
}

// asleep waits until many looks in a row find p waiting and no CPU used.
func asleep(t *testing.T, p *Proc) Activity {
	t.Helper()
	var last Activity
	row := 0
	return lookUntil(t, p, "a tree that sleeps", func(a Activity) bool {
		if row++; a.Runnable || a != last {
			row = 0
		}
		last = a
		return row == 100
	})
}

// stdin gives spec an input that stays open.
func stdin(t testing.TB, spec *Spec) (*Spec, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	spec.Stdin = r
	return spec, w
}

// A tree that is busy, be it the leader, its child, a second thread or many
// children one after the other, is seen to be, and its time is what the report
// says in the end.
func TestLookBusy(t *testing.T) {
	for _, tt := range []struct {
		name     string
		spec     func() *Spec
		runnable int // in so many of a hundred looks at least
	}{
		{"leader", func() *Spec { return sh("echo ready; " + busy) }, 90},
		{"child", func() *Spec { return sh("sh -c '" + busy + "' & echo ready; wait") }, 90},
		{"threads", func() *Spec { return self("spin") }, 90}, // the first one sleeps
		{"children", func() *Spec {
			return sh("echo ready; while :; do (i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done); done")
		}, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T) {
				p, _, wait := background(t, tt.spec())
				_, runnable := used(t, p, 150*time.Millisecond)
				if runnable < tt.runnable {
					t.Errorf("runnable in %d %% of the looks", runnable)
				}
				a, _ := used(t, p, 50*time.Millisecond)
				at := time.Now()
				p.Kill(Cancelled)
				rep := wait()
				// What is not waited for is not in the report without a cgroup: of the child
				// that was busy in the end, the report has what was sampled.
				least, most := a.CPU-20*time.Millisecond, a.CPU+4*rep.End.Sub(at)+50*time.Millisecond
				if end := rep.User + rep.System; tt.name != "child" && end < least || end > most {
					t.Errorf("last seen %v, in the end %v", a.CPU, end)
				}
				if wall := at.Sub(rep.Start); a.CPU > 2*wall+50*time.Millisecond {
					t.Errorf("CPU %v in %v", a.CPU, wall)
				}
				if _, err := p.Look(true); !errors.Is(err, ErrEnded) {
					t.Errorf("after the end: %v", err)
				}
			})
		})
	}
}

// A tree whose processes and threads all wait is seen to.
func TestLookAsleep(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		for _, spec := range []*Spec{sh("sleep 1000 & echo ready; read x"), self("threads", "5")} {
			spec, _ := stdin(t, spec)
			p, _, _ := background(t, spec)
			if a := asleep(t, p); a.CPU == 0 {
				t.Errorf("it was started with no time: %+v", a)
			}
		}
	})
}

// The memory is that of the whole tree.
func TestLookMemory(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		spec, _ := stdin(t, self("eat", "60"))
		p, _, _ := background(t, spec)
		a, err := p.Look(true)
		if err != nil || a.Memory < 60<<20 || a.Memory > 150<<20 {
			t.Errorf("%d MiB, %v", a.Memory>>20, err)
		}
		if a, err := p.Look(false); err != nil || a.Memory != 0 {
			t.Errorf("not asked for: %+v, %v", a, err)
		}
	})
}

// A paused tree stands still, and goes on when it is resumed.
func TestLookPaused(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		p, _, _ := background(t, sh("sh -c '"+busy+"' & echo ready; "+busy))
		used(t, p, 50*time.Millisecond)
		if err := pause(p); err != nil {
			t.Fatal(err)
		}
		before := asleep(t, p)
		for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		}
		after, err := p.Look(false)
		if err != nil || after.Runnable || after.CPU != before.CPU {
			t.Errorf("paused %+v, then %+v, %v", before, after, err)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
		used(t, p, 50*time.Millisecond)
	})
}

// noScan keeps a slot from scanning when nobody waits for it.
func noScan(s *Slot) {
	s.scanCost.Store(int64(time.Hour))
	s.scanAt.Store(time.Now().UnixNano())
}

// What left the leader's descendants is found by a scan, and known from then on;
// the time it used stays when it ends.
func TestLookOrphan(t *testing.T) {
	// Orphans come to the test, so that it knows when one is gone altogether.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	bothWays(t, func(t *testing.T) {
		spec, in := stdin(t, sh(`setsid sh -c "sh -c 'echo child \$\$; `+busy+`' & "; echo ready; read x; `+busy))
		p, out, _ := background(t, spec)
		orphan := pids(out.line("child"))[0]
		if st, err := readStat(orphan); err != nil || st.ppid != os.Getpid() {
			t.Fatalf("not an orphan: %+v, %v", st, err)
		}
		lookUntil(t, p, "the orphan", func(a Activity) bool { return a.Runnable })
		noScan(p.slot)
		a, runnable := used(t, p, 400*time.Millisecond)
		if runnable < 90 {
			t.Errorf("runnable in %d %% of the looks", runnable)
		}
		unix.Kill(orphan, unix.SIGKILL)
		if _, err := unix.Wait4(orphan, nil, 0, nil); err != nil {
			t.Fatal(err)
		}
		asleep(t, p)
		in.WriteString("\n")
		lookUntil(t, p, "the leader's time", func(b Activity) bool { return b.CPU > a.CPU+100*time.Millisecond })
		if m, err := readMember(p.PID()); err != nil || m.cpu > 350*time.Millisecond {
			t.Errorf("the leader had to use %v, %v before its time showed", m.cpu, err)
		}
	})
}

// What its leader leaves behind is still looked at, and the leader's time stays.
func TestLookAfterLeader(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		spec, in := stdin(t, sh("sh -c 'echo ready $$; "+busy+"' & i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo burnt; read x"))
		ended := make(chan Report, 1)
		spec.LeaderEnded = func(rep Report) { ended <- rep }
		spec.Linger = time.Hour
		p, out, _ := background(t, spec)
		orphan := pids(out.line("ready"))[0]
		out.line("burnt")
		leader, err := readMember(p.PID())
		if err != nil {
			t.Fatal(err)
		}
		in.WriteString("\n")
		<-ended
		then, err := readMember(orphan)
		now := then
		for err == nil && now.cpu < then.cpu+300*time.Millisecond { // longer than between two samples
			now, err = readMember(orphan)
		}
		a, lerr := p.Look(false)
		if err != nil || lerr != nil || !a.Runnable || a.CPU < leader.cpu+now.cpu-10*time.Millisecond {
			t.Errorf("%+v, %v, %v: the leader used %v, the other one %v", a, err, lerr, leader.cpu, now.cpu)
		}
	})
}

// The children of every thread are found.
func TestThreadChildren(t *testing.T) {
	spec, _ := stdin(t, self("threads", "5"))
	p, _, _ := background(t, spec)
	m, err := readMember(p.PID())
	if err != nil || m.threads < 6 || len(m.children()) != 1 {
		t.Errorf("%+v, %v: children %v", m, err, m.children())
	}
}

// Many look while short jobs follow one another in a slot: no job is charged for
// another one, and none is seen after its end.
func TestLookStorm(t *testing.T) {
	n := 40
	if os.Getenv("BROOD_LONG") != "" {
		n = 400
	}
	bothWays(t, func(t *testing.T) {
		s := open(t)
		var now atomic.Pointer[Proc]
		var most sync.Map // of a Proc: the most CPU seen
		var all sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					p := now.Load()
					if p == nil {
						continue
					}
					a, err := p.Look(true)
					switch last, _ := most.LoadOrStore(p, &atomic.Int64{}); {
					case err != nil && err != ErrEnded:
						t.Error(err)
					case int64(a.CPU) > last.(*atomic.Int64).Load():
						last.(*atomic.Int64).Store(int64(a.CPU))
					}
				}
			})
		}
		for i := range n {
			spec := sh("true")
			if i%2 == 0 {
				spec = sh("(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done); sh -c true & wait")
			}
			rep, err := s.Run(spec, func(p *Proc) { now.Store(p) })
			p := now.Load()
			if _, lerr := p.Look(true); err != nil || !rep.OK() || lerr != ErrEnded {
				t.Fatalf("%+v, %v; after the end %v", rep, err, lerr)
			}
			if seen, ok := most.Load(p); ok {
				if cpu, end := time.Duration(seen.(*atomic.Int64).Load()), rep.User+rep.System; cpu > end+time.Millisecond {
					t.Fatalf("job %d was seen to use %v, in the end %v", i, cpu, end)
				}
			}
		}
		close(stop)
		all.Wait()
	})
}

// BenchmarkLook is one look at trees that sleep.
func BenchmarkLook(b *testing.B) {
	for _, way := range []struct{ name, off string }{{"cgroup", ""}, {"mark", "1"}} {
		for _, tree := range []struct {
			name   string
			memory bool
			spec   *Spec
		}{
			{"one", false, sh("echo ready; read x")},
			{"memory", true, sh("echo ready; read x")},
			{"10 processes", false, sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo ready; read x")},
			{"50 threads", false, self("threads", "50")},
		} {
			b.Run(way.name+"/"+strings.ReplaceAll(tree.name, " ", "_"), func(b *testing.B) {
				b.Setenv(noCgroupVar, way.off)
				spec, _ := stdin(b, tree.spec)
				p, _, _ := background(b, spec)
				noScan(p.slot) // its cost is bounded, and another matter
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Look(tree.memory); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Who has ended and was not reaped yet does not wait for anything.
func TestZombiesAreNotAlive(t *testing.T) {
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, p.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	zombie, err := readMember(p.Pid)
	if err != nil || zombie.alive() {
		t.Errorf("a zombie: %+v, %v", zombie, err)
	}
	self, err := readMember(os.Getpid())
	if err != nil || !self.alive() {
		t.Errorf("this process: %+v, %v", self, err)
	}
}
