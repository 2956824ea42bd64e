package main

import (
	"context"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

// part is what one process of several is told to play.
type part struct {
	Space string
	Plain bool // without detection of deadlocks
	Crew  int  // how many processes play
	I     int  // which of them this one is
	N     int  // how often; of a fight the microseconds
	Pause time.Duration
	File  string // memory that the processes share
}

// took is what a process has measured.
type took struct {
	Seconds float64
	Rate    float64   // how often in a second
	At      []float64 // monotonic times that all processes have in common, in seconds
}

// The parts that the processes of a comparison play, after all of them have met.
var (
	fight     = brood.NewFunc("fight", played((*actor).fight))
	events    = brood.NewFunc("events", played((*actor).events))
	meet      = brood.NewFunc("meet", played((*actor).meet))
	condition = brood.NewFunc("condition", played((*actor).condition))
)

// actor is a process that plays a part.
type actor struct {
	part
	ctx   context.Context
	space *share.Space
}

func played(play func(a *actor) (took, error)) func(context.Context, part) (took, error) {
	return func(ctx context.Context, p part) (t took, err error) {
		space, err := share.Options{NoDeadlockDetection: p.Plain}.Open(p.Space)
		if err != nil {
			return t, err
		}
		defer space.Close()
		start, err := space.Barrier("start", p.Crew, nil)
		if err != nil {
			return t, err
		}
		if _, err := start.Wait(ctx); err != nil {
			return t, err
		}
		began := time.Now()
		t, err = play(&actor{p, ctx, space})
		if t.Seconds == 0 {
			t.Seconds = time.Since(began).Seconds()
		}
		return t, err
	}
}

// crew lets new processes play in a new space.
func crew(f *brood.Func[part, took], n int, p part) ([]took, error) {
	space, err := share.New()
	if err != nil {
		return nil, err
	}
	defer space.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p.Space, p.Crew = space.Name(), n
	var processes []*brood.Process[took]
	for p.I = range n {
		x, err := f.Start(ctx, p, brood.ProcessOptions{})
		if err != nil {
			return nil, err
		}
		processes = append(processes, x)
	}
	all := make([]took, n)
	for i, x := range processes {
		if all[i], err = x.Result(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// slowest is what n turns of a crew took, for each.
func slowest(f *brood.Func[part, took], processes, n int, p part) (float64, error) {
	p.N = n
	all, err := crew(f, processes, p)
	if err != nil {
		return 0, err
	}
	return slices.MaxFunc(all, func(a, b took) int { return int((a.Seconds - b.Seconds) * 1e9) }).Seconds / float64(n), nil
}

// fight acquires and releases until the time is over, which is looked at now and then.
func (a *actor) fight() (t took, err error) {
	lock, err := a.space.Lock("lock")
	if err != nil {
		return t, err
	}
	count := 0
	began := time.Now()
	for t.Seconds < float64(a.N)/1e6 {
		for range 32 {
			g, err := lock.Acquire(a.ctx)
			if err != nil {
				return t, err
			}
			count++
			g.Release()
		}
		t.Seconds = time.Since(began).Seconds()
	}
	t.Rate = float64(count) / t.Seconds
	return t, nil
}

// events lets one process sleep, and the other one wake it, with or without a pause before.
func (a *actor) events() (t took, err error) {
	called, err := a.space.Event("called")
	if err != nil {
		return t, err
	}
	answered, err := a.space.Event("answered")
	if err != nil {
		return t, err
	}
	t.At = make([]float64, a.N)
	for i := range t.At {
		if a.I == 0 {
			answered.Set()
			err = called.Wait(a.ctx)
			t.At[i] = monotonic()
			called.Clear()
		} else {
			err = answered.Wait(a.ctx)
			answered.Clear()
			if a.Pause > 0 {
				time.Sleep(a.Pause)
			}
			t.At[i] = monotonic()
			called.Set()
		}
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

// monotonic is a time that all processes have in common.
func monotonic() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return float64(t.Nano()) / 1e9
}

// meet meets the others again and again.
func (a *actor) meet() (t took, err error) {
	barrier, err := a.space.Barrier("barrier", a.Crew, nil)
	for range a.N {
		if err == nil {
			_, err = barrier.Wait(a.ctx)
		}
	}
	return t, err
}

// condition takes turns with the other one: whose it is says a byte in memory that they share,
// under the condition's lock.
func (a *actor) condition() (t took, err error) {
	f, err := os.OpenFile(a.File, os.O_RDWR, 0)
	if err != nil {
		return t, err
	}
	defer f.Close()
	turn, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return t, err
	}
	defer unix.Munmap(turn)
	changed, err := a.space.Condition("changed", nil)
	if err != nil {
		return t, err
	}
	for range a.N {
		g, err := changed.Acquire(a.ctx)
		if err == nil {
			g, err = changed.WaitFor(a.ctx, g, func() bool { return turn[0] == byte(a.I) })
		}
		if err != nil {
			return t, err
		}
		turn[0] = byte(1 - a.I)
		changed.Notify(1)
		g.Release()
	}
	return t, nil
}
