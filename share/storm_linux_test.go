package share

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// storm lets n processes play a role, kills one after the other at chance moments and starts
// another in its place. It returns when the processes that are left have gone on for a while.
func storm(t *testing.T, role string, n, kills int) *cast {
	t.Helper()
	if long {
		kills *= 20 // more than 10,000 in all
	}
	c := newCast(t)
	if role == "event" {
		c.pulse()
	}
	for range n {
		c.start(role)
	}
	for range kills {
		c.progress(1)
		for range rand.IntN(20000) { // somewhere in what it does
			unix.Getppid()
		}
		c.kill(c.any())
		c.start(role)
	}
	c.progress(50 * n)
	c.end()
	return c
}

// pulse sets and clears the event, until the test ends: a process that was killed between its
// Clear and its Set leaves it clear, and there may be no other one that sets it.
func (c *cast) pulse() {
	event, err := c.space.Event("e")
	if err != nil {
		c.t.Fatal(err)
	}
	var stop atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		for !stop.Load() {
			event.Set()
			event.Clear()
			unix.Nanosleep(&unix.Timespec{Nsec: 1_000_000}, nil)
		}
	})
	c.t.Cleanup(func() {
		stop.Store(true)
		done.Wait()
	})
}

// progress waits until the history has so many lines more.
func (c *cast) progress(lines int) {
	c.t.Helper()
	var st unix.Stat_t
	size := func() int64 {
		if err := unix.Stat(c.history, &st); err != nil {
			c.t.Fatal(err)
		}
		return st.Size
	}
	for begin, end := size(), time.Now().Add(time.Minute); size() < begin+int64(noteSize*lines); {
		if time.Now().After(end) {
			for _, p := range c.all {
				p.cmd.Process.Signal(unix.SIGQUIT)
			}
			c.t.Fatal("no progress within a minute")
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 200_000}, nil) // a file has no event for this
	}
}

// exclusive checks a history of ins and outs: one at a time, with growing tokens, and who
// follows one that died inside is told.
func (c *cast) exclusive() {
	inside, last, n := "", uint64(0), 0
	for _, f := range c.lines() {
		token, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		pid, _ := strconv.Atoi(inside)
		switch {
		case f[1] == "out":
			if f[0] != inside || token != last {
				c.t.Fatalf("%v, and inside is %s with token %d", f, inside, last)
			}
			inside = ""
			continue
		case token <= last:
			c.t.Fatalf("%v after token %d", f, last)
		case inside != "" && !c.killed[pid]:
			c.t.Fatalf("%v while %s is inside", f, inside)
		case inside != "" && f[3] != "true":
			c.t.Fatalf("%v is not told that %s died inside", f, inside)
		}
		inside, last = f[0], token
		n++
	}
	c.t.Logf("%d owners, %d kills", n, len(c.killed))
}

// Owners and waiters of one lock are killed at chance moments.
func TestStormLock(t *testing.T) {
	c := storm(t, "lock", 8, 200)
	c.exclusive()
	l, err := c.space.Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	g, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g.Release()
}

// Never are more permits taken by those who live than there are, and in the end all are there.
func TestStormSemaphore(t *testing.T) {
	c := storm(t, "semaphore", 8, 100)
	inside := map[string]int{}
	n := 0
	for _, f := range c.lines() {
		k, err := strconv.Atoi(f[2])
		if err != nil {
			t.Fatal(err)
		}
		if f[1] == "out" {
			inside[f[0]] -= k
			continue
		}
		inside[f[0]] += k
		sum := 0
		for pid, k := range inside {
			if id, _ := strconv.Atoi(pid); !c.killed[id] {
				sum += k
			}
		}
		if sum > stormPermits {
			t.Fatalf("%v: %d permits of %d are taken: %v", f, sum, stormPermits, inside)
		}
		n++
	}
	t.Logf("%d holders, %d kills", n, len(c.killed))
	s, err := c.space.BoundedSemaphore("s", stormPermits)
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Value(); v != stormPermits {
		t.Errorf("%d permits of %d in the end", v, stormPermits)
	}
	g, err := s.AcquireN(t.Context(), stormPermits)
	if err != nil {
		t.Fatal(err)
	}
	g.Release()
}

func TestStormEvent(t *testing.T) { storm(t, "event", 6, 60) }

func TestStormCondition(t *testing.T) { storm(t, "condition", 6, 60).exclusive() }

// Locks that are taken in order raise no alarm, whoever dies with some of them.
func TestStormOrdered(t *testing.T) { storm(t, "ordered", 5, 40) }

func TestStormBarrier(t *testing.T) {
	c := storm(t, "barrier", stormParties, 60)
	met := 0
	for _, f := range c.lines() {
		if f[1] == "met" {
			met++
		}
	}
	if met == 0 {
		t.Error("they never met")
	}
	t.Logf("%d of %d lines are meetings", met, len(c.lines()))
}

// own acquires the lock, with as much memory as is asked for, says so, and keeps it.
func (a *actor) own() error {
	lock, err := a.space.Lock("l")
	if err != nil {
		return err
	}
	memory := make([]byte, ownMemory())
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	if _, err := lock.Acquire(a.ctx); err != nil {
		return err
	}
	fmt.Println("owns")
	<-a.ctx.Done()
	return fmt.Errorf("%d bytes", len(memory)) // and keep them until here
}

// next acquires the lock, says when, and releases it, each time it is told to.
func (a *actor) next() error {
	lock, err := a.space.Lock("l")
	if err != nil {
		return err
	}
	for {
		fmt.Println("waits")
		g, err := lock.Acquire(a.ctx)
		if err != nil {
			return err
		}
		fmt.Println("owns", now(), g.Recovered())
		g.Release()
		for { // until somebody else has it
			g, ok := lock.TryAcquire(context.Background())
			if !ok {
				break
			}
			g.Release()
			if a.ctx.Err() != nil {
				return nil
			}
			unix.Nanosleep(&unix.Timespec{Nsec: 100_000}, nil)
		}
	}
}

// now is a time that all processes have in common, in nanoseconds.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// The next owner has the lock soon after the owner's death. How soon is for the log, and for
// the benchmarks.
func TestNextOwner(t *testing.T) {
	rounds := 30
	if long {
		rounds = 500
	}
	for _, mib := range []string{"0", "64"} {
		t.Run(mib+" MiB", func(t *testing.T) {
			c := newCast(t)
			next := c.start("next")
			next.says(t, "waits")
			next.says(t, "owns")
			var times []time.Duration
			for range rounds {
				owner := c.start("own", memoryVar+"="+mib)
				owner.says(t, "owns")
				next.says(t, "waits")
				begin := now()
				c.kill(owner)
				said := next.says(t, "owns")
				if said[1] != "true" {
					t.Fatal("it is not told that the owner died")
				}
				at, err := strconv.ParseInt(said[0], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				times = append(times, time.Duration(at-begin))
			}
			slices.Sort(times)
			t.Logf("p50 %v, p99 %v", times[len(times)/2], times[len(times)*99/100])
		})
	}
}

// The owner is killed in another pid namespace, where its pid means something else.
func TestForeignOwner(t *testing.T) {
	c := newCast(t)
	next := c.start("next")
	next.says(t, "waits")
	next.says(t, "owns")
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	owner, err := c.tryStart("own", attr)
	if err != nil {
		t.Skipf("the system gives us no pid namespace: %v", err)
	}
	owner.says(t, "owns")
	next.says(t, "waits")
	c.kill(owner)
	if said := next.says(t, "owns"); said[1] != "true" {
		t.Error("it is not told that the owner died")
	}
}

// Processes that each have one lock and want their neighbour's: one of them is told, and the
// others get theirs.
func TestCircleOfProcesses(t *testing.T) {
	rounds := 20
	if long {
		rounds = 1000
	}
	for _, n := range []int{2, 3, 5} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			c := newCast(t)
			var all []*player
			for i := range n {
				all = append(all, c.start("knot", fmt.Sprintf("%s=%d/%d", knotVar, i, n)))
			}
			for round := range rounds {
				told := 0
				for _, p := range all {
					line, err := p.out.ReadString('\n')
					if err != nil {
						t.Fatal(err)
					}
					switch line {
					case fmt.Sprintf("told %d\n", n):
						told++
					case "got\n":
					default:
						t.Fatalf("round %d: %q", round, line)
					}
				}
				if told != 1 {
					t.Fatalf("round %d: %d of %d were told", round, told, n)
				}
			}
		})
	}
}

// Who can't be noted, because the holder of the register's latch does not run, is told later.
func TestToldLate(t *testing.T) {
	c := newCast(t)
	locks := []*Lock{must(c.space.Lock("l0")), must(c.space.Lock("l1"))}
	latch := &c.space.space.register.latch
	g := must(latch.lock(t.Context()))
	var all []*player
	for i := range locks {
		all = append(all, c.start("knot", fmt.Sprintf("%s=%d/2", knotVar, i)))
	}
	for _, l := range locks { // each is waited for by one that gave up being noted
		for l.l.state.Load()&hasWaiters == 0 {
			runtime.Gosched()
		}
	}
	latch.unlock(g.token, false)
	told := 0
	for _, p := range all {
		switch line, err := p.out.ReadString('\n'); line {
		case "told 2\n":
			told++
		case "got\n":
		default:
			t.Fatalf("%q, %v", line, err)
		}
	}
	if told != 1 {
		t.Errorf("%d were told", told)
	}
}
