package share

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A role is what a process of a test does: this test binary, started again with the role's
// name in the environment, the space's name, the path of the history, and a seed.
const roleVar = "BROOD_SHARE_TEST_ROLE"

// actor is a process in its role.
type actor struct {
	ctx     context.Context // ends with standard input
	space   *Space
	history *os.File
	rnd     *rand.Rand
}

// roles are what processes do until their context ends. They return what went wrong.
var roles = map[string]func(a *actor) error{
	"lock":      (*actor).fight,
	"semaphore": (*actor).park,
	"event":     (*actor).signal,
	"condition": (*actor).notify,
	"barrier":   (*actor).meet,
	"ordered":   (*actor).inOrder,
	"own":       (*actor).own,
	"next":      (*actor).next,
	"knot":      (*actor).knot,
	"stay":      (*actor).stay,
	"latched":   (*actor).latched,
	"put":       (*actor).putItems,
	"get":       (*actor).getItems,
	"deliver":   (*actor).deliverItems,
	"fill":      (*actor).fill,
	"empty":     (*actor).empty,
	"hand":      (*actor).hand,
	"end":       (*actor).pipeEnd,
	"keep":      (*actor).keep,
}

// playRole is main in a process of a test. It does not return if this is one.
func playRole() {
	role := os.Getenv(roleVar)
	if role == "" {
		return
	}
	if err := play(role); err != nil {
		fmt.Fprintf(os.Stderr, "%s %d: %v\n", role, os.Getpid(), err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(role string) error {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	history, err := os.OpenFile(os.Args[2], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Args[3], 10, 64)
	if err != nil {
		return err
	}
	space, err := Open(os.Args[1])
	if err != nil {
		return err
	}
	a := &actor{ctx, space, history, rand.New(rand.NewPCG(seed, 0))}
	if err := roles[role](a); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return space.Close()
}

// noteSize is the size of a line of the history. None lies on two pages: at the end of a page
// the kernel gives up the write of a process that is killed.
const noteSize = 64

// note appends a line to the history, in one write: all processes' lines are in one order.
func (a *actor) note(format string, args ...any) error {
	line := fmt.Sprintf("%d "+format, append([]any{os.Getpid()}, args...)...)
	_, err := fmt.Fprintf(a.history, "%-*s\n", noteSize-1, line)
	return err
}

// work takes a moment.
func (a *actor) work() {
	for range a.rnd.IntN(2000) {
		_ = a.ctx.Err()
	}
}

// fight acquires, notes that it is in, notes that it is out, and releases.
func (a *actor) fight() error {
	lock, err := a.space.Lock("l")
	if err != nil {
		return err
	}
	for {
		g, err := lock.Acquire(a.ctx)
		if err != nil {
			return err
		}
		if err := a.note("in %d %v", g.Token(), g.Recovered()); err != nil {
			return err
		}
		a.work()
		if err := a.note("out %d", g.Token()); err != nil {
			return err
		}
		g.Release()
		a.work()
	}
}

const orderedLocks = 5

// inOrder acquires some of several locks, always the lower number first. It must never be told
// of a deadlock.
func (a *actor) inOrder() error {
	var all []*Lock
	for i := range orderedLocks {
		lock, err := a.space.Lock(fmt.Sprint("l", i))
		if err != nil {
			return err
		}
		all = append(all, lock)
	}
	for {
		var guards []Guard
		for _, lock := range all {
			if a.rnd.IntN(2) == 0 {
				continue
			}
			g, err := lock.Acquire(a.ctx)
			if err != nil {
				return err
			}
			guards = append(guards, g)
		}
		if err := a.note("had %d", len(guards)); err != nil {
			return err
		}
		a.work()
		for _, g := range guards {
			g.Release()
		}
	}
}

const stormPermits = 3

// park does the same with one or two of three permits.
func (a *actor) park() error {
	sem, err := a.space.BoundedSemaphore("s", stormPermits)
	if err != nil {
		return err
	}
	for {
		n := 1 + a.rnd.IntN(2)
		g, err := sem.AcquireN(a.ctx, n)
		if err != nil {
			return err
		}
		if err := a.note("in %d", n); err != nil {
			return err
		}
		a.work()
		if err := a.note("out %d", n); err != nil {
			return err
		}
		g.Release()
	}
}

// signal sets, waits and clears.
func (a *actor) signal() error {
	event, err := a.space.Event("e")
	if err != nil {
		return err
	}
	for a.ctx.Err() == nil {
		switch a.rnd.IntN(3) {
		case 0:
			event.Set()
		case 1:
			event.Clear()
			a.work()
			event.Set()
		default:
			if err := event.Wait(a.ctx); err != nil {
				return err
			}
			if err := a.note("passed"); err != nil {
				return err
			}
		}
	}
	return a.ctx.Err()
}

// notify waits for a turn that the one before gives on. Every process may be the one that was
// notified last, and killed.
func (a *actor) notify() error {
	cond, err := a.space.Condition("c", nil)
	if err != nil {
		return err
	}
	for {
		g, err := cond.Acquire(a.ctx)
		if err != nil {
			return err
		}
		if err := a.note("in %d %v", g.Token(), g.Recovered()); err != nil {
			return err
		}
		cond.Notify(1 + a.rnd.IntN(2))
		if err := a.note("out %d", g.Token()); err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(a.ctx, time.Duration(1+a.rnd.IntN(20))*time.Millisecond)
		g, err = cond.Wait(ctx, g)
		stop()
		switch {
		case a.ctx.Err() != nil:
			return a.ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			continue
		case err != nil:
			return err
		}
		if err := a.note("in %d %v", g.Token(), g.Recovered()); err != nil {
			return err
		}
		if err := a.note("out %d", g.Token()); err != nil {
			return err
		}
		g.Release()
	}
}

const stormParties = 4

// meet meets the others, and mends the barrier when one of them is missing.
func (a *actor) meet() error {
	barrier, err := a.space.Barrier("b", stormParties, func(context.Context) error { return a.note("acts") })
	if err != nil {
		return err
	}
	for {
		_, err := barrier.Wait(a.ctx)
		switch {
		case a.ctx.Err() != nil:
			return a.ctx.Err()
		case errors.Is(err, ErrBrokenBarrier):
			if err := a.note("broken"); err != nil {
				return err
			}
			if barrier.Broken() {
				if err := barrier.Reset(); err != nil {
					return err
				}
			}
		case err != nil:
			return err
		default:
			if err := a.note("met"); err != nil {
				return err
			}
		}
	}
}

// cast is the processes of a test.
type cast struct {
	t       *testing.T
	space   *Space
	history string
	seed    uint64

	mu     sync.Mutex
	all    map[int]*player
	killed map[int]bool
}

// player is one of them.
type player struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func newCast(t *testing.T) *cast {
	t.Helper()
	s, err := New()
	c := &cast{t: t, space: closed(t, s, err), all: map[int]*player{}, killed: map[int]bool{}, seed: rand.Uint64()}
	t.Logf("seed %d", c.seed)
	f, err := os.CreateTemp(t.TempDir(), "history")
	if err != nil {
		t.Fatal(err)
	}
	c.history = f.Name()
	f.Close()
	t.Cleanup(c.end)
	return c
}

// start starts a process in a role.
func (c *cast) start(role string, env ...string) *player {
	c.t.Helper()
	p, err := c.tryStart(role, nil, env...)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// tryStart is start for what the system may not allow.
func (c *cast) tryStart(role string, attr *syscall.SysProcAttr, env ...string) (*player, error) {
	c.t.Helper()
	c.seed++
	cmd := exec.Command("/proc/self/exe", c.space.Name(), c.history, strconv.FormatUint(c.seed, 10))
	cmd.Env = append(append(os.Environ(), roleVar+"="+role, "GOMAXPROCS=2"), env...)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &player{cmd, stdin, bufio.NewReader(stdout)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[cmd.Process.Pid] = p
	return p, nil
}

// kill kills a process by SIGKILL.
func (c *cast) kill(p *player) {
	pid := p.cmd.Process.Pid
	c.mu.Lock()
	c.killed[pid] = true
	delete(c.all, pid)
	c.mu.Unlock()
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.stdin.Close()
}

// any is one of the processes.
func (c *cast) any() *player {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.all { // a map's order is chance enough
		return p
	}
	return nil
}

// end lets all processes end. One that does not within a minute says where it is.
func (c *cast) end() {
	c.mu.Lock()
	all := c.all
	c.all = map[int]*player{}
	c.mu.Unlock()
	for _, p := range all {
		p.stdin.Close()
	}
	for pid, p := range all {
		timer := time.AfterFunc(time.Minute, func() {
			c.t.Errorf("process %d does not end", pid)
			p.cmd.Process.Signal(syscall.SIGQUIT)
		})
		if err := p.cmd.Wait(); err != nil {
			c.t.Errorf("process %d: %v", pid, err)
		}
		timer.Stop()
	}
}

// lines are the history.
func (c *cast) lines() (all [][]string) {
	text, err := os.ReadFile(c.history)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		all = append(all, strings.Fields(line))
	}
	return all
}

// says waits for a line that a process prints.
func (p *player) says(t *testing.T, word string) []string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) == 0 || f[0] != word {
		t.Fatalf("process %d says %q (%v), want %q", p.cmd.Process.Pid, line, err, word)
	}
	return f[1:]
}

// memoryVar says how many MiB an owner has.
const memoryVar = "BROOD_SHARE_TEST_MIB"

func ownMemory() int {
	n, _ := strconv.Atoi(os.Getenv(memoryVar))
	return n << 20
}

// knot takes the locks of two neighbours, in the order that is its number's, and meets the
// others in between: a circle, which one of them is told of.
func (a *actor) knot() error {
	var me, n int
	if _, err := fmt.Sscanf(os.Getenv(knotVar), "%d/%d", &me, &n); err != nil {
		return err
	}
	all, err := a.space.Barrier("all", n, nil)
	if err != nil {
		return err
	}
	var locks [2]*Lock
	for i := range locks {
		if locks[i], err = a.space.Lock(fmt.Sprint("l", (me+i)%n)); err != nil {
			return err
		}
	}
	for {
		first, err := locks[0].Acquire(a.ctx)
		if err != nil {
			return err
		}
		if err := together(all, a.ctx); err != nil {
			return err
		}
		second, err := locks[1].Acquire(a.ctx)
		var d *DeadlockError
		switch {
		case errors.As(err, &d):
			fmt.Println("told", len(d.Edges))
		case err != nil:
			return err
		default:
			fmt.Println("got")
			second.Release()
		}
		first.Release()
		if err := together(all, a.ctx); err != nil {
			return err
		}
	}
}

// together waits for all others. When the test ends, one of them breaks the barrier first.
func together(all *Barrier, ctx context.Context) error {
	_, err := all.Wait(ctx)
	if errors.Is(err, ErrBrokenBarrier) {
		return context.Canceled
	}
	return err
}

const knotVar = "BROOD_SHARE_TEST_KNOT"
