package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/coro"
)

const aboutCoroutines = `A switch is there and back: a number goes in, the next one comes out. A bare iter.Pull has no way in, so the number lies in a variable beside it. By channels two goroutines hand it over, which sleep in turn.

A turn is one of two tasks' that do nothing but let the other one run; for asyncio that is await asyncio.sleep(0). Goroutines that call runtime.Gosched are here on one CPU. Tasks that do nothing are begun and awaited, a hundred at once.`

// coroutines prints what concerns package coro.
func (b *bench) coroutines() error {
	python := b.python("coroutines.py", coroutinesInPython)
	defer python.stop()
	if err := b.table("Coroutines\n\n"+aboutCoroutines, b.switches(python)); err != nil {
		return err
	}
	return b.sleepersMemory()
}

// switches compares coroutines and loops of them.
func (b *bench) switches(python *peer) []comparison {
	n, few := b.some(2_000_000), b.some(500_000)
	crowd := b.some(100_000)
	const nap = 100 // ms
	return []comparison{
		{"coroutine, a switch there and back", 0, []side{
			{name: "brood, Resume and Yield", run: func() (float64, error) { return byResume(n) }},
			{name: "bare iter.Pull", target: 1.3, run: func() (float64, error) { return byPull(n) }},
			{name: "unbuffered channels", target: 0.67, run: func() (float64, error) { return byChannels(few) }},
			python.side("CPython, generator.send", 0, "switch", few, 0),
		}},
		{"coroutine, a value of a generator in a for loop", 0, []side{
			{name: "brood, Generate", run: func() (float64, error) { return byGenerate(n) }},
			{name: "brood, All of a coroutine", run: func() (float64, error) { return byAll(n) }},
			{name: "bare iter.Pull", run: func() (float64, error) { return byPull(n) }},
			python.side("CPython, generator", 0, "generate", few, 0),
		}},
		{"coroutine, a turn in a loop of two", 0, []side{
			{name: "brood, Pass", run: func() (float64, error) { return byPass(n) }},
			python.side("asyncio, sleep(0)", 0, "turns", few, 2),
			{name: "goroutines, Gosched", run: func() (float64, error) { return byGosched(n) }},
		}},
		{"coroutine, an item of a queue between two, room for 10", 0, []side{
			{name: "brood, coro.Queue", run: func() (float64, error) { return byItems(few) }},
			python.side("asyncio.Queue", 0, "items", few/2, 10),
			{name: "goroutines, a channel", run: func() (float64, error) { return byChannel(few) }},
		}},
		{"coroutine, a task that does nothing", 0, []side{
			{name: "brood, Go", run: func() (float64, error) { return byTasks(few) }},
			python.side("asyncio.TaskGroup", 0, "tasks", few/5, 0),
			{name: "goroutines, WaitGroup", run: func() (float64, error) { return byGoroutines(few) }},
		}},
		{fmt.Sprintf("coroutine, %d that sleep %d ms at once, all of it by their number", crowd, nap), 0, []side{
			{name: "brood, Sleep", run: func() (float64, error) { return bySleep(crowd, nap*time.Millisecond, coro.Real) }},
			python.side("asyncio.sleep", 0, "sleepers", crowd, nap),
			{name: "goroutines, time.Sleep", run: func() (float64, error) { return byTimeSleep(crowd, nap*time.Millisecond) }},
			{name: "brood, virtual time", run: func() (float64, error) { return bySleep(crowd, nap*time.Millisecond, coro.Virtual) }},
		}},
	}
}

// each is the seconds for each of n since then, if what was counted is right.
func each(began time.Time, n, got, want int) (float64, error) {
	took := time.Since(began).Seconds()
	if got != want {
		return 0, fmt.Errorf("%d instead of %d", got, want)
	}
	return took / float64(n), nil
}

func byResume(n int) (float64, error) {
	c := coro.New(func(co *coro.Co[int, int], number int) int {
		for {
			number = co.Yield(number + 1)
		}
	})
	defer c.Close()
	number := 0
	began := time.Now()
	for range n {
		var err error
		if number, err = c.Resume(number); err != nil {
			return 0, err
		}
	}
	return each(began, n, number, n)
}

func byPull(n int) (float64, error) {
	number := 0
	next, stop := iter.Pull(func(yield func(int) bool) {
		for yield(number + 1) {
		}
	})
	defer stop()
	began := time.Now()
	for range n {
		var more bool
		if number, more = next(); !more {
			return 0, errors.New("it has ended")
		}
	}
	return each(began, n, number, n)
}

func byChannels(n int) (float64, error) {
	there, back := make(chan int), make(chan int)
	go func() {
		for number := range there {
			back <- number + 1
		}
	}()
	defer close(there)
	number := 0
	began := time.Now()
	for range n {
		there <- number
		number = <-back
	}
	return each(began, n, number, n)
}

func byGenerate(n int) (float64, error) {
	sum := 0
	began := time.Now()
	for v := range coro.Generate(func(yield func(int)) {
		for i := range n {
			yield(i)
		}
	}) {
		sum += v
	}
	return each(began, n, sum, n*(n-1)/2)
}

func byAll(n int) (float64, error) {
	c := coro.New(func(co *coro.Co[struct{}, int], _ struct{}) int {
		for i := range n {
			co.Yield(i)
		}
		return 0
	})
	sum := 0
	began := time.Now()
	for v, err := range c.All(struct{}{}) {
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return each(began, n, sum, n*(n-1)/2)
}

func byPass(n int) (float64, error) {
	loop := coro.NewLoop(coro.Options{})
	turns := 0
	for range 2 {
		loop.Go("task", func(ctx context.Context) error {
			for range n / 2 {
				if err := coro.Pass(ctx); err != nil {
					return err
				}
				turns++
			}
			return nil
		})
	}
	began := time.Now()
	if err := loop.Run(ctx); err != nil {
		return 0, err
	}
	return each(began, n, turns, n/2*2)
}

func byGosched(n int) (float64, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var wg sync.WaitGroup
	turns := 0
	began := time.Now()
	for range 2 {
		wg.Go(func() {
			for range n / 2 {
				runtime.Gosched()
				turns++ // on one CPU, and nothing interrupts this
			}
		})
	}
	wg.Wait()
	return each(began, n, n, n)
}

func byItems(n int) (float64, error) {
	loop := coro.NewLoop(coro.Options{})
	queue := coro.NewQueue[int](10)
	loop.Go("put", func(ctx context.Context) error {
		defer queue.Close()
		for i := range n {
			if err := queue.Put(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	sum := 0
	loop.Go("get", func(ctx context.Context) error {
		for v, err := range queue.All(ctx) {
			if err != nil {
				return err
			}
			sum += v
		}
		return nil
	})
	began := time.Now()
	if err := loop.Run(ctx); err != nil {
		return 0, err
	}
	return each(began, n, sum, n*(n-1)/2)
}

func byChannel(n int) (float64, error) {
	ch := make(chan int, 10)
	began := time.Now()
	go func() {
		defer close(ch)
		for i := range n {
			ch <- i
		}
	}()
	sum := 0
	for v := range ch {
		sum += v
	}
	return each(began, n, sum, n*(n-1)/2)
}

func byTasks(n int) (float64, error) {
	loop := coro.NewLoop(coro.Options{})
	done := 0
	loop.Go("parent", func(ctx context.Context) error {
		tasks := make([]*coro.Task[struct{}], 100)
		for range n / 100 {
			for i := range tasks {
				tasks[i] = loop.Go("task", func(context.Context) error { done++; return nil })
			}
			if _, err := coro.Gather(ctx, tasks...); err != nil {
				return err
			}
		}
		return nil
	})
	began := time.Now()
	if err := loop.Run(ctx); err != nil {
		return 0, err
	}
	return each(began, n, done, n/100*100)
}

func byGoroutines(n int) (float64, error) {
	var done atomic.Int64
	began := time.Now()
	for range n / 100 {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { done.Add(1) })
		}
		wg.Wait()
	}
	return each(began, n, int(done.Load()), n/100*100)
}

func bySleep(n int, d time.Duration, clock coro.Clock) (float64, error) {
	began := time.Now()
	loop := coro.NewLoop(coro.Options{Clock: clock})
	woken := 0
	for range n {
		loop.Go("task", func(ctx context.Context) error {
			err := coro.Sleep(ctx, d)
			woken++
			return err
		})
	}
	if err := loop.Run(ctx); err != nil {
		return 0, err
	}
	return each(began, n, woken, n)
}

func byTimeSleep(n int, d time.Duration) (float64, error) {
	began := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { time.Sleep(d) })
	}
	wg.Wait()
	return each(began, n, n, n)
}

// sleepers makes this program one that shows what memory those take which sleep.
const sleepers = "sleepers"

// sleepersMemory shows what one that sleeps costs.
func (b *bench) sleepersMemory() error {
	const what = "coroutine, memory"
	if !b.only.MatchString(what) {
		return nil
	}
	const n = 100_000
	fmt.Fprintf(b.out, "## Coroutines: memory of one that sleeps\n\n%d sleep at once, in a new process: how much more memory is resident then, for each.\n\n| %s | bytes (range) |\n|---|---|\n", n, what)
	python := func() (float64, error) {
		p := b.python("coroutines.py", coroutinesInPython)
		defer p.stop()
		a, err := p.ask("memory", n, 0)
		return a.Mean, err
	}
	self := func(kind string) func() (float64, error) {
		return func() (float64, error) {
			path, err := os.Executable()
			if err != nil {
				return 0, err
			}
			out, err := exec.Command(path, sleepers, kind, strconv.Itoa(n)).Output()
			if err != nil {
				return 0, err
			}
			return strconv.ParseFloat(string(bytes.TrimSpace(out)), 64)
		}
	}
	for _, s := range []side{
		{name: "brood, coro.Sleep", run: self("loop")},
		{name: "goroutine, time.Sleep", run: self("goroutines")},
		{name: "asyncio, asyncio.sleep", run: python},
	} {
		var all []float64
		for range b.rounds {
			bytes, err := s.run()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			all = append(all, bytes)
		}
		low, high := all[0], all[0]
		for _, v := range all {
			low, high = min(low, v), max(high, v)
		}
		fmt.Fprintf(b.out, "| %s | %.0f (%.0f–%.0f) |\n", s.name, median(all), low, high)
	}
	fmt.Fprintln(b.out)
	return nil
}

// showSleepers is this program as sleepersMemory starts it.
func showSleepers(kind, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	before, err := resident()
	if err != nil {
		return err
	}
	show := func() error {
		after, err := resident()
		if err == nil {
			_, err = fmt.Println((after - before) / float64(n))
		}
		return err
	}
	if kind == "goroutines" {
		var asleep atomic.Int64
		for range n {
			go func() {
				asleep.Add(1)
				time.Sleep(time.Hour)
			}()
		}
		for asleep.Load() < int64(n) {
			runtime.Gosched()
		}
		return show()
	}
	loop := coro.NewLoop(coro.Options{})
	for range n {
		loop.Go("task", func(ctx context.Context) error { return coro.Sleep(ctx, time.Hour) })
	}
	enough := errors.New("enough")
	loop.Go("show", func(ctx context.Context) error { return errors.Join(show(), enough) })
	if err := loop.Run(ctx); !errors.Is(err, enough) {
		return err
	}
	return nil
}

// resident is the memory of this process that is resident, in bytes.
func resident() (float64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, errors.New("the system does not say what memory is resident")
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()), err
}
