package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/brood-go/brood/share"
)

// lockPeers are what package share is compared with.
type lockPeers struct{ python, c *peer }

// locks prints what concerns package share.
func (b *bench) locks() error {
	p := lockPeers{b.python("locks.py", locksInPython), b.compiled("locks.c", locksInC)}
	defer p.python.stop()
	defer p.c.stop()
	local := share.Local()
	named, err := share.New()
	if err != nil {
		return err
	}
	defer named.Close()
	alone, err := b.alone(local, named, p)
	if err != nil {
		return err
	}
	if err := b.table("Locks and semaphores: acquire and release, nobody else wants it", alone); err != nil {
		return err
	}
	fights := []*contest{b.fights(2, p), b.fights(4, p)}
	if err := b.table("Locks: processes that fight for one, for each acquisition", []comparison{fights[0].comparison, fights[1].comparison}); err != nil {
		return err
	}
	b.fairness(fights)
	if err := b.together(p); err != nil {
		return err
	}
	return b.recovery(p)
}

// alone compares locks and semaphores that nobody else wants.
func (b *bench) alone(local, named *share.Space, p lockPeers) (cs []comparison, err error) {
	n, few := b.some(1_000_000), b.some(300_000)
	for _, space := range []struct {
		*share.Space
		name string
	}{{local, "local space"}, {named, "named space"}} {
		lock, err := space.Lock("lock")
		if err != nil {
			return nil, err
		}
		sem, err := space.Semaphore("semaphore", 1)
		if err != nil {
			return nil, err
		}
		cs = append(cs, comparison{"lock, " + space.name, 0, []side{
			{name: "brood", run: func() (float64, error) { return inLock(lock, n) }},
			{name: "sync.Mutex", target: 3, run: func() (float64, error) { return inMutex(n) }},
			p.python.side("multiprocessing.Lock", 1, "lock", few, 0),
			p.c.side("robust pthread mutex in C", 0, "lock", n, 0),
		}}, comparison{"semaphore, " + space.name, 0, []side{
			{name: "brood", run: func() (float64, error) { return inPermits(sem, few) }},
			{name: "golang.org/x/sync/semaphore", run: func() (float64, error) { return inSemaphore(few) }},
			p.python.side("multiprocessing.Semaphore", 0, "semaphore", few, 0),
			p.c.side("sem_t in C", 0, "semaphore", n, 0),
		}})
	}
	return cs, nil
}

func inLock(lock *share.Lock, n int) (float64, error) {
	count := 0
	began := time.Now()
	for range n {
		g, err := lock.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		count++
		g.Release()
	}
	return time.Since(began).Seconds() / float64(count), nil
}

func inPermits(sem *share.Semaphore, n int) (float64, error) {
	count := 0
	began := time.Now()
	for range n {
		g, err := sem.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		count++
		g.Release()
	}
	return time.Since(began).Seconds() / float64(count), nil
}

func inMutex(n int) (float64, error) {
	mu := new(sync.Mutex)
	count := 0
	began := time.Now()
	for range n {
		mu.Lock()
		count++
		mu.Unlock()
	}
	return time.Since(began).Seconds() / float64(count), nil
}

func inSemaphore(n int) (float64, error) {
	sem := semaphore.NewWeighted(1)
	count := 0
	began := time.Now()
	for range n {
		if err := sem.Acquire(ctx, 1); err != nil {
			return 0, err
		}
		count++
		sem.Release(1)
	}
	return time.Since(began).Seconds() / float64(count), nil
}

// contest is a comparison of locks that processes fight for.
type contest struct {
	comparison
	least map[string][]float64 // by side and round: the smallest rate, by that which is fair
}

// fights are contests of n processes, each for an almost empty section.
func (b *bench) fights(n int, p lockPeers) *contest {
	micros := b.some(150_000)
	c := &contest{least: make(map[string][]float64)}
	in := func(name string, target float64, rates func() ([]float64, error)) side {
		return side{name: name, target: target, run: func() (float64, error) {
			all, err := rates()
			sum := 0.0
			for _, rate := range all {
				sum += rate
			}
			if err != nil || sum == 0 {
				return 0, errors.Join(err, errors.New("no rates"))
			}
			c.least[name] = append(c.least[name], slices.Min(all)*float64(n)/sum)
			return 1 / sum, nil
		}}
	}
	ours := func(plain bool) func() ([]float64, error) {
		return func() (rates []float64, err error) {
			all, err := crew(fight, n, part{N: micros, Plain: plain})
			for _, t := range all {
				rates = append(rates, t.Rate)
			}
			return rates, err
		}
	}
	theirs := func(x *peer, name string, target float64) side {
		if x.why != "" {
			return side{name: name, why: x.why}
		}
		return in(name, target, func() ([]float64, error) {
			a, err := x.ask("fight", micros, n)
			return a.Rates, err
		})
	}
	c.comparison = comparison{fmt.Sprintf("lock, %d processes", n), 0, []side{
		in("brood", 0, ours(false)),
		in("brood, NoDeadlockDetection", 0, ours(true)),
		theirs(p.python, "multiprocessing.Lock", 1),
		theirs(p.c, "robust pthread mutex in C", 2),
	}}
	return c
}

// fairness shows how little the process got that got least.
func (b *bench) fairness(all []*contest) {
	began := false
	for _, c := range all {
		for _, s := range c.sides {
			least := c.least[s.name]
			if len(least) < 2 {
				continue
			}
			if !began {
				fmt.Fprint(b.out, "What the process got that got least, as a part of what each would get if all got the same:\n\n| what | by | least (range) |\n|---|---|---|\n")
				began = true
			}
			least = least[1:] // the first one warms the caches
			fmt.Fprintf(b.out, "| %s | %s | %.2f (%.2f–%.2f) |\n", c.name, s.name, median(least), slices.Min(least), slices.Max(least))
		}
	}
	if began {
		fmt.Fprintln(b.out)
	}
}
