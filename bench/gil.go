package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/gil"
)

// gils prints what concerns package gil.
func (b *bench) gils() error {
	python := b.python("gil.py", gilInPython)
	defer python.stop()
	n, few := b.some(10_000_000), b.some(300_000)
	err := b.table("The global lock: what it costs", []comparison{
		{"gil, acquire and release, nobody else wants it", 0, []side{
			{name: "brood", run: func() (float64, error) { return inGIL(n) }},
			{name: "sync.Mutex", target: 2, run: func() (float64, error) { return inMutex(n) }},
		}},
		{"gil, safe point, nobody waits", 0, []side{
			{name: "brood", run: func() (float64, error) { return safePoints(n) }},
			{name: "a load and a branch", run: func() (float64, error) { return loads(n) }},
			{name: "acquire and release of a sync.Mutex", target: 1, run: func() (float64, error) { return inMutex(n) }},
		}},
		{"gil, Unlocked around nothing, nobody waits", 0, []side{
			{name: "brood", run: func() (float64, error) { return unlocked(n) }},
			python.side("CPython, os.sched_yield()", 0, "yield", few, 0),
		}},
		{"gil, hand-over between two threads", 0, []side{
			{name: "brood", run: func() (float64, error) { return handOvers(gil.Options{SwitchInterval: 1}, few) }},
			python.side("CPython, two threads that yield", 0, "handover", b.some(10_000), 0),
			{name: "two channels without a buffer, there or back", run: func() (float64, error) { return channelSwitches(few) }},
			{name: "brood, NoDeadlockDetection", run: func() (float64, error) {
				return handOvers(gil.Options{SwitchInterval: 1, NoDeadlockDetection: true}, few)
			}},
		}},
	})
	if err != nil {
		return err
	}
	return b.convoy(python)
}

// convoy compares a thread that does I/O again and again, without the GIL, alone and beside one
// that computes. It reads a byte of a cached file, which takes a microsecond and never blocks, or
// sends a byte over a socket and waits for the answer, which does block.
func (b *bench) convoy(python *peer) error {
	window := time.Duration(b.some(700)) * time.Millisecond
	file, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer file.Close()
	conn, err := b.echo()
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 1)
	read := func() error {
		_, err := file.ReadAt(buf, 0)
		return err
	}
	request := func() error {
		_, err := conn.Write(buf)
		if err == nil {
			_, err = conn.Read(buf)
		}
		return err
	}
	with := func(interval time.Duration, io func() error, computes bool, of int) func() (float64, error) {
		return func() (float64, error) {
			a, err := beside(interval, window, io, computes)
			return a[of], err
		}
	}
	millis := int(window.Milliseconds())
	ask := func(what string, interval time.Duration) side {
		return python.side("CPython", 0, what, millis, int(interval.Microseconds()))
	}
	reads := []comparison{{"gil, a read without the lock, alone", 0, []side{
		{name: "brood", run: with(gil.DefaultSwitchInterval, read, false, 0)}, ask("convoy", 0),
	}}}
	requests := []comparison{{"gil, a request without the lock, alone", 0, []side{
		{name: "brood", run: with(gil.DefaultSwitchInterval, request, false, 0)}, ask("request", 0),
	}}}
	var computes []comparison
	for _, interval := range []time.Duration{5 * time.Millisecond, 500 * time.Microsecond, 100 * time.Microsecond} {
		reads = append(reads, comparison{fmt.Sprintf("gil, the same beside a thread that computes, interval %v", interval), 0, []side{
			{name: "brood", run: with(interval, read, true, 0)},
			ask("convoy", interval),
			{name: "sync.Mutex, unlocked and locked at each step", run: func() (float64, error) { return besideMutex(window, read) }},
		}})
		requests = append(requests, comparison{fmt.Sprintf("gil, a request beside a thread that computes, interval %v", interval), 0, []side{
			{name: "brood", run: with(interval, request, true, 0)}, ask("request", interval),
		}})
		computes = append(computes, comparison{fmt.Sprintf("gil, a step beside a thread that reads, interval %v", interval), 0, []side{
			{name: "brood", run: with(interval, read, true, 1)},
			{name: "the step alone", run: with(interval, nil, true, 1)},
		}})
	}
	if err := b.table("The global lock: the convoy effect, for a thread that does I/O", slices.Concat(reads, requests)); err != nil {
		return err
	}
	return b.table("The global lock: the convoy effect, for the thread that computes", computes)
}

func inGIL(n int) (float64, error) {
	t := new(gil.GIL).Attach("")
	count := 0
	began := time.Now()
	for range n {
		if err := t.Acquire(ctx); err != nil {
			return 0, err
		}
		count++
		t.Release()
	}
	return time.Since(began).Seconds() / float64(count), nil
}

// do is what the only thread of a GIL does, once for each of n.
func do(n int, f func(t *gil.Thread) error) (float64, error) {
	t := new(gil.GIL).Attach("")
	if err := t.Acquire(ctx); err != nil {
		return 0, err
	}
	defer t.Release()
	began := time.Now()
	for range n {
		if err := f(t); err != nil {
			return 0, err
		}
	}
	return time.Since(began).Seconds() / float64(n), nil
}

func safePoints(n int) (float64, error) {
	t := new(gil.GIL).Attach("")
	if err := t.Acquire(ctx); err != nil {
		return 0, err
	}
	defer t.Release()
	began := time.Now()
	for range n {
		if err := t.Check(ctx); err != nil {
			return 0, err
		}
	}
	return time.Since(began).Seconds() / float64(n), nil
}

func loads(n int) (float64, error) {
	var asked atomic.Uint64
	began := time.Now()
	for range n {
		if asked.Load() != 0 {
			return 0, errors.New("nobody asks")
		}
	}
	return time.Since(began).Seconds() / float64(n), nil
}

func unlocked(n int) (float64, error) {
	return do(n, func(t *gil.Thread) error { return t.Unlocked(ctx, func() {}) })
}

// handOvers lets two threads give it to each other n times. With an interval of a nanosecond every
// release hands it over.
func handOvers(o gil.Options, n int) (float64, error) {
	g := gil.New(o)
	began := time.Now()
	err := both(func() error {
		return g.Do(ctx, "", func(_ context.Context, t *gil.Thread) error {
			for g.Stats().HandOvers < uint64(n) {
				for range 100 {
					if err := t.Unlocked(ctx, func() {}); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	return time.Since(began).Seconds() / float64(g.Stats().HandOvers), err
}

// both runs f twice at once.
func both(f func() error) error {
	var errs [2]error
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

func channelSwitches(n int) (float64, error) {
	there, back := make(chan int), make(chan int)
	go func() {
		for v := range there {
			back <- v
		}
		close(back)
	}()
	began := time.Now()
	for range n / 2 {
		there <- 1
		<-back
	}
	took := time.Since(began)
	close(there)
	return took.Seconds() / float64(n), nil
}

// step is what the thread that computes does between two safe points: some 100 ns.
func step(x uint64) uint64 {
	for range 100 {
		x = x*6364136223846793005 + 1442695040888963407
	}
	return x
}

var result atomic.Uint64 // so that no step is left out

// echo is a connection to a goroutine that sends back what it gets.
func (b *bench) echo() (net.Conn, error) {
	l, err := net.Listen("unix", filepath.Join(b.dir, "echo"))
	if err != nil {
		return nil, err
	}
	go func() {
		c, err := l.Accept()
		l.Close()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 1)
		for err == nil {
			if _, err = c.Read(buf); err == nil {
				_, err = c.Write(buf)
			}
		}
	}()
	return net.Dial("unix", l.Addr().String())
}

// beside lets a thread do I/O and another one compute for a while, and returns the seconds for
// each I/O and for each step.
func beside(interval, window time.Duration, io func() error, computes bool) (each [2]float64, err error) {
	g := gil.New(gil.Options{SwitchInterval: interval})
	var over atomic.Bool
	var counts [2]int
	work := [2]func(t *gil.Thread) error{
		func(t *gil.Thread) (failed error) {
			err := t.Unlocked(ctx, func() { failed = io() })
			return errors.Join(failed, err)
		},
		func(t *gil.Thread) error {
			result.Store(step(result.Load()))
			return t.Check(ctx)
		},
	}
	var errs [2]error
	var wg sync.WaitGroup
	began := time.Now()
	for i, wanted := range []bool{io != nil, computes} {
		if !wanted {
			continue
		}
		wg.Go(func() {
			errs[i] = g.Do(ctx, "", func(_ context.Context, t *gil.Thread) (err error) {
				for err == nil && !over.Load() {
					err = work[i](t)
					counts[i]++
				}
				return err
			})
		})
	}
	<-time.After(window)
	over.Store(true)
	wg.Wait()
	took := time.Since(began).Seconds()
	for i := range each {
		each[i] = took / float64(max(counts[i], 1))
	}
	return each, errors.Join(errs[:]...)
}

// besideMutex is the same with a sync.Mutex in place of the GIL.
func besideMutex(window time.Duration, io func() error) (float64, error) {
	var mu sync.Mutex
	var over atomic.Bool
	var wg sync.WaitGroup
	var failed error
	done := 0
	began := time.Now()
	wg.Go(func() {
		mu.Lock()
		defer mu.Unlock()
		for failed == nil && !over.Load() {
			mu.Unlock()
			failed = io()
			mu.Lock()
			done++
		}
	})
	wg.Go(func() {
		mu.Lock()
		defer mu.Unlock()
		for !over.Load() {
			result.Store(step(result.Load()))
			mu.Unlock()
			mu.Lock()
		}
	})
	<-time.After(window)
	over.Store(true)
	wg.Wait()
	return time.Since(began).Seconds() / float64(max(done, 1)), failed
}
