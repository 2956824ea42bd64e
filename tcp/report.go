package tcp

import (
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// counts is what a process of Prefork has done so far, and how it tells its parent: as fixed
// numbers, over a pipe.
type counts struct{ accepted, active, failed, panicked, pauses, retired uint32 }

const countsSize = 6 * 4

func (c *counts) fields() []*uint32 {
	return []*uint32{&c.accepted, &c.active, &c.failed, &c.panicked, &c.pauses, &c.retired}
}

func (c *counts) append(b []byte) []byte {
	for _, f := range c.fields() {
		b = binary.LittleEndian.AppendUint32(b, *f)
	}
	return b
}

// read reads the next report.
func (c *counts) read(r io.Reader) error {
	var b [countsSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	for i, f := range c.fields() {
		*f = binary.LittleEndian.Uint32(b[4*i:])
	}
	return nil
}

// tally is what the parent believes of a process.
type tally struct {
	counts
	most   int // connections at once
	served int // in all; 0: any number
}

// believe takes a report, as far as it is possible.
func (t *tally) believe(c counts) {
	old := t.counts
	c.accepted = max(c.accepted, old.accepted)
	if t.served > 0 {
		c.accepted = min(c.accepted, uint32(t.served))
	}
	c.active = min(c.active, c.accepted, uint32(t.most))
	ended := c.accepted - c.active
	c.failed = max(old.failed, min(c.failed, ended))
	c.panicked = max(old.panicked, min(c.panicked, ended-min(ended, c.failed)))
	c.pauses = max(c.pauses, old.pauses)
	c.retired = max(c.retired, old.retired)
	t.counts = c
}

func (t *tally) addTo(s *Stats) {
	s.Accepted += int64(t.accepted)
	s.Active += int(t.active)
	s.Failed += int64(t.failed)
	s.Panicked += int64(t.panicked)
	s.Pauses += int64(t.pauses)
}

// tallies are those of the processes there are, and the sum of those there were.
type tallies struct {
	mu   sync.Mutex
	live map[*tally]struct{}
	past Stats
}

func (a *tallies) open(most, served int) *tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live == nil {
		a.live = make(map[*tally]struct{})
	}
	t := &tally{most: most, served: served}
	a.live[t] = struct{}{}
	return t
}

// update takes a report, and returns whether the process accepts no more.
func (a *tallies) update(t *tally, c counts) (retired bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.believe(c)
	return t.retired > 0
}

// fruitful reports whether a process has accepted anything.
func (a *tallies) fruitful(t *tally) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.accepted > 0
}

// close ends a tally. What was active when the process died has died with it.
func (a *tallies) close(t *tally, died bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.live, t)
	if died {
		a.past.Died += int64(t.active)
	}
	t.active = 0
	t.addTo(&a.past)
}

// sum is what all have done.
func (a *tallies) sum() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.past
	for t := range a.live {
		t.addTo(&s)
	}
	return s
}

// reportEvery is how often a process tells what it has done.
const reportEvery = 50 * time.Millisecond

// reporter writes a process's reports: the first after some quiet at once, so that what
// crashes in its first moments is known, and others when reportEvery is over.
type reporter struct {
	out io.Writer

	mu sync.Mutex
	counts
	last time.Time // when one was written
	due  bool      // another is about to be
}

// change changes the counts, and sees to it that there is a report.
func (r *reporter) change(f func(c *counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.counts)
	if r.due {
		return
	}
	if wait := reportEvery - time.Since(r.last); wait > 0 {
		r.due = true
		time.AfterFunc(wait, r.flush)
		return
	}
	r.write()
}

func (r *reporter) began() {
	r.change(func(c *counts) {
		c.accepted++
		c.active++
	})
}

func (r *reporter) ended(v verdict) {
	r.change(func(c *counts) {
		switch v {
		case failed:
			c.failed++
		case panicked:
			c.panicked++
		}
		c.active--
	})
}

func (r *reporter) paused() { r.change(func(c *counts) { c.pauses++ }) }

// retire reports at once that nothing more is accepted.
func (r *reporter) retire() {
	r.mu.Lock()
	r.retired = 1
	r.mu.Unlock()
	r.flush()
}

func (r *reporter) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = false
	r.write()
}

// write is called with mu held.
func (r *reporter) write() {
	r.last = time.Now()
	r.out.Write(r.counts.append(nil))
}
