package main

import (
	"errors"
	"fmt"
)

const (
	capacity = 1000 // of all that can be told how much to hold
	ofMqueue = 10   // what a POSIX message queue holds at most, without privileges
	longest  = 8192 // and its longest message
	batch    = 64

	handOver      = "queue, one who sleeps in Get: Put → it runs"
	handOverLocal = "local queue, one who sleeps in Get: Put → it runs"
)

const aboutQueues = `k → k are k processes that put and k that get, each its part; the time is that of an item, from when the first one begins to put until the last one has got. An item of 8 B is an integer (int64 in Go, int in Python), a longer one a slice of bytes or a bytes object.

A share.Queue holds 1000 items, and so does a multiprocessing.Queue and a JoinableQueue. A pipe holds 64 KiB, and SimpleQueue and multiprocessing.Pipe are pipes. A POSIX message queue holds 10 messages of at most 8 KiB, more only with privileges: it is left out where items are longer. multiprocessing.Pipe is left out where several would put or get: it is not made for that, and with locks it is SimpleQueue. The pipe in C has there a lock at each end.`

// queuePeers are what queues and pipes of package share are compared with.
type queuePeers struct {
	python, c *peer
	mqueue    string // why there is no POSIX message queue; empty: there is
}

// queues prints what concerns the queues of package share.
func (b *bench) queues() error {
	p := queuePeers{python: b.python("queues.py", queuesInPython), c: b.compiled("queues.c", queuesInC)}
	defer p.python.stop()
	defer p.c.stop()
	if p.mqueue = p.c.why; p.mqueue == "" {
		if _, err := (load{1, 8, ofMqueue}).ask(p.c, "mqueue", 1); err != nil {
			p.mqueue = err.Error()
		}
	}
	if err := b.table("Queues: processes, for each item\n\n"+aboutQueues, b.queuesBySize(p)); err != nil {
		return err
	}
	if err := b.table("Queues: batches, acknowledgements and little room, for each item", b.queuesOtherwise(p)); err != nil {
		return err
	}
	if err := b.table("Pipes: two processes, for each item", b.pipes(p)); err != nil {
		return err
	}
	if err := b.handOvers(p); err != nil {
		return err
	}
	local, err := b.queuesLocal()
	if err != nil {
		return err
	}
	if err := b.table(fmt.Sprintf("Queues: goroutines, an item of 8 B, room for %d", capacity), local); err != nil {
		return err
	}
	if err := b.handOversLocal(); err != nil {
		return err
	}
	return b.handBack()
}

// load is what is carried from processes to processes.
type load struct {
	crew     int // how many put, and how many get
	size     int // of an item
	capacity int // items that the queue holds
}

// String names it.
func (l load) String() string {
	return fmt.Sprintf("%d → %d, %s", l.crew, l.crew, bytesOf(l.size))
}

// items is a usual number of items, less of long ones, that can be shared out evenly.
func (b *bench) items(l load, most int) int {
	n := b.some(min(most, max(40, 160<<20/l.size)))
	return max(n/l.crew, 1) * l.crew
}

// ask has a peer carry n items.
func (l load) ask(p *peer, what string, n int) (answer, error) {
	a, err := p.ask(fmt.Sprint(what, " ", l.crew, " ", l.capacity), n, l.size)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	return a, err
}

// side is a peer that carries n items, as a side of a comparison.
func (l load) side(p *peer, name string, target float64, what string, n int) side {
	if p.why != "" {
		return side{name: name, why: p.why}
	}
	return side{name: name, target: target, run: func() (float64, error) {
		a, err := l.ask(p, what, n)
		return a.Mean, err
	}}
}

// posix is a POSIX message queue in C.
func (l load) posix(p queuePeers, n int) side {
	const name = "POSIX message queue in C"
	if p.mqueue != "" {
		return side{name: name, why: p.mqueue}
	}
	l.capacity = min(l.capacity, ofMqueue)
	return l.side(p.c, name, 1, "mqueue", n)
}

// How often something is carried at most, for brood and C and for Python.
const (
	often  = 100_000
	seldom = 20_000
)

// queuesBySize compares queues by the processes at them and the size of an item.
func (b *bench) queuesBySize(p queuePeers) (cs []comparison) {
	for _, crew := range []int{1, 2, 4} {
		for _, size := range []int{8, 1 << 10, 64 << 10, 1 << 20, 4 << 20} {
			target := map[int]float64{8: 1. / 10, 1 << 20: 1. / 3}[size]
			l := load{crew, size, capacity}
			n, few := b.items(l, often), b.items(l, seldom)
			sides := []side{
				{name: "brood", run: func() (float64, error) { return carry(l, n, byQueue) }},
				l.side(p.python, "multiprocessing.Queue", target, "queue", few),
				l.side(p.python, "multiprocessing.SimpleQueue", 0, "simple", few),
			}
			switch {
			case crew == 1:
				sides = append(sides, l.side(p.python, "multiprocessing.Pipe", 0, "pipe", few))
			case size == 1<<20: // only for its target, which is of two processes
				continue
			}
			sides = append(sides, l.side(p.c, "Unix pipe in C", 0, "pipe", n))
			if size <= longest {
				sides = append(sides, l.posix(p, n))
			}
			cs = append(cs, comparison{"queue, " + l.String(), 0, sides})
			if crew == 1 && size >= 64<<10 {
				cs = append(cs, comparison{"queue, " + l.String() + ", GetInto", 0, []side{
					{name: "brood", run: func() (float64, error) { return carry(l, n, byInto) }},
					l.side(p.python, "multiprocessing.Queue", target, "queue", few),
					l.side(p.c, "Unix pipe in C", 0, "pipe", n),
				}})
			}
		}
	}
	return cs
}

// queuesOtherwise compares other ways to use queues.
func (b *bench) queuesOtherwise(p queuePeers) []comparison {
	l := load{1, 8, capacity}
	n, few := b.items(l, often), b.items(l, seldom)
	small := load{1, 8, ofMqueue}
	return []comparison{
		{fmt.Sprintf("queue, %v, %d at once by PutAll and GetUpTo", l, batch), 0, []side{
			{name: "brood", run: func() (float64, error) { return carry(l, 5*n, byBatches) }},
			{name: "brood, Put and Get", run: func() (float64, error) { return carry(l, n, byQueue) }},
			l.side(p.python, "multiprocessing.Queue, put and get", 0, "queue", few),
			l.posix(p, n),
		}},
		{fmt.Sprintf("queue, %v, room for %d", l, ofMqueue), 0, []side{
			{name: "brood", run: func() (float64, error) { return carry(small, n, byQueue) }},
			small.side(p.python, "multiprocessing.Queue", 0, "queue", few),
			small.posix(p, n),
		}},
		{fmt.Sprintf("joinable queue, %v, until Join returns", l), 0, []side{
			{name: "brood", run: func() (float64, error) { return carry(l, n, byJoinable) }},
			l.side(p.python, "multiprocessing.JoinableQueue", 0, "joinable", few),
		}},
	}
}

// pipes compares pipes that go one way.
func (b *bench) pipes(p queuePeers) (cs []comparison) {
	for _, size := range []int{8, 1 << 10, 64 << 10, 1 << 20} {
		l := load{1, size, capacity}
		n, few := b.items(l, often), b.items(l, seldom)
		cs = append(cs, comparison{"pipe, " + l.String(), 0, []side{
			{name: "brood", run: func() (float64, error) { return carry(l, n, byPipe) }},
			l.side(p.python, "multiprocessing.Pipe", 0, "pipe", few),
			l.side(p.c, "Unix pipe in C", 0, "pipe", n),
		}})
	}
	return cs
}

// handOvers shows how long it takes to wake one who sleeps in Get.
func (b *bench) handOvers(p queuePeers) error {
	s := newSpreads()
	n := b.some(100)
	l := load{1, 8, capacity}
	theirs := func(l load, x *peer, why, name, what string) side {
		if why != "" {
			s.names, s.missing[name] = append(s.names, name), why
			return side{name: name, why: why}
		}
		return s.side(name, func() ([]float64, error) {
			a, err := l.ask(x, "wake-"+what, n+1)
			return settled(a.Samples), err
		})
	}
	err := b.table("Queues: hand-over to a process that sleeps\n\nOne puts the time of the clock, 2 ms after it did so before; the other one looks how long ago that was. The very first time does not count.", []comparison{{handOver, 0, []side{
		s.side("brood", func() ([]float64, error) {
			samples, err := wake(n+1, l.capacity)
			return settled(samples), err
		}),
		theirs(l, p.python, p.python.why, "multiprocessing.Queue", "queue"),
		theirs(l, p.python, p.python.why, "multiprocessing.SimpleQueue", "simple"),
		theirs(l, p.python, p.python.why, "multiprocessing.Pipe", "pipe"),
		theirs(l, p.c, p.c.why, "Unix pipe in C", "pipe"),
		theirs(load{1, 8, ofMqueue}, p.c, p.mqueue, "POSIX message queue in C", "mqueue"),
	}}})
	if err == nil {
		s.print(b, handOver)
	}
	return err
}

// settled leaves out the first sample: then something is still being started.
func settled(samples []float64) []float64 {
	return samples[min(1, len(samples)):]
}
