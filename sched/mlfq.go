package sched

import (
	"cmp"
	"time"

	"github.com/brood-go/brood/internal/median"
)

// MLFQ is the multi-level feedback queue: it knows no lengths and comes near to SRPT
// by watching what jobs use. The five rules, after Arpaci-Dusseau, Operating Systems:
// Three Easy Pieces, chapter 8:
//
//  1. A job of a higher level runs before one of a lower level, and takes its place.
//  2. Jobs of one level take turns, a slice each.
//  3. A new job begins at the highest level.
//  4. A job that has used up its allotment at a level moves down. All that it uses there
//     counts, in however many pieces, so that nobody games it by waiting in between.
//  5. After each Boost all jobs are at the highest level again.
//
// The boost alone prevents starvation: after it each job has a turn within n/m slices, of
// n jobs that may run on m places.
//
// The zero value suits batches: three levels, whose measure is taken from the batch
// itself. The allotments are 2 and 10 times the median CPU time of the jobs that have
// ended, so that a usual job ends before it is ever moved down; until there are some,
// 1 s and 10 s.
type MLFQ struct {
	// Levels are the levels, the highest first. nil: three.
	Levels []Level
	// Boost is the time from one boost to the next. 0: 10 times the longest allotment;
	// negative: never.
	Boost time.Duration
	// Reserve keeps one place for the oldest job that has not ended. It takes effect
	// from 8 places on: of few, one is too much to give away.
	Reserve bool

	core
	fresh    list   // has not begun: all at the highest level
	queues   []list // has begun, by level; the level of an entry of an older epoch is 0
	epoch    int    // how many boosts there were
	usual    median.Median
	arrivals []*entry // with Reserve, those that have not ended and some that have, by age
	alarm    bool     // one is set
}

// Level is a level of an MLFQ.
type Level struct {
	// Slice is the CPU time of a turn. 0: 100 ms, or 50 times the measured cost of a
	// pause and resume if that is more, but at most 1 s.
	Slice time.Duration
	// Allotment is the CPU time after which a job moves down. 0: by the jobs that have
	// ended, see MLFQ. That of the lowest level means nothing.
	Allotment time.Duration
}

const (
	reserveFrom   = 8 // places
	medianFrom    = 5 // ended jobs
	boostsApart   = 10
	defaultLevels = 3
)

// allotments of the levels of the zero value: before anything is known, and as
// multiples of the median.
var (
	firstAllotments  = []time.Duration{time.Second, 10 * time.Second}
	medianAllotments = []time.Duration{2, 10}
)

// Decide implements Policy.
func (m *MLFQ) Decide(now time.Duration, events ...Event) []Decision {
	if m.queues == nil {
		m.queues = make([]list, cmp.Or(len(m.Levels), defaultLevels))
		m.victims.largest = true
	}
	m.decide(now, events, m)
	if !m.alarm && len(m.jobs) > 0 && m.Boost >= 0 {
		m.alarm = true
		m.out = append(m.out, Decision{Action: SetAlarm, At: now + m.boostPeriod()})
	}
	return m.out
}

// String implements Policy.
func (m *MLFQ) String() string { return "mlfq" }

// Level implements Leveler.
func (m *MLFQ) Level(j Job) int {
	e := m.jobs[j]
	if e == nil {
		return 0
	}
	m.refresh(e)
	return e.level
}

// allotment is the CPU time that a job may use at a level.
func (m *MLFQ) allotment(level int) time.Duration {
	if level < len(m.Levels) && m.Levels[level].Allotment > 0 {
		return m.Levels[level].Allotment
	}
	i := min(level, len(firstAllotments)-1)
	if m.usual.Len() >= medianFrom {
		return max(medianAllotments[i]*m.usual.Value(), leastSlice)
	}
	return firstAllotments[i]
}

func (m *MLFQ) boostPeriod() time.Duration {
	if m.Boost > 0 {
		return m.Boost
	}
	longest := time.Duration(0)
	for level := range len(m.queues) - 1 {
		longest = max(longest, m.allotment(level))
	}
	return boostsApart * max(longest, firstAllotments[0])
}

// refresh makes an entry's level that of this epoch.
func (m *MLFQ) refresh(e *entry) {
	if e.epoch != m.epoch {
		e.epoch, e.level, e.atLevel = m.epoch, 0, 0
	}
}

// ended learns how long jobs are.
func (m *MLFQ) ended(e *entry) {
	if e.used > 0 {
		m.usual.Add(e.used)
	}
}

// boost moves all jobs to the highest level. Those that wait are told by the epoch;
// of those that run, only what they use from now on counts.
func (m *MLFQ) boost(now time.Duration) {
	m.alarm = false
	m.epoch++
	for level := 1; level < len(m.queues); level++ {
		m.queues[0].join(&m.queues[level])
	}
	old := m.oldest()
	for _, v := range m.victims.items {
		e := v.e
		m.refresh(e)
		e.atLevel = e.placedAt - now // what it has used and was not charged for
		if e != old {
			e.rank = 0
		}
	}
	m.victims.reorder()
}

func (m *MLFQ) enter(_ time.Duration, e *entry) {
	m.refresh(e)
	if e.begun {
		m.queues[e.level].push(e)
		return
	}
	m.fresh.push(e)
	if m.Reserve {
		m.arrivals = append(m.arrivals, e)
	}
}

func (m *MLFQ) leave(e *entry) { unlink(e) }

func (m *MLFQ) next(_ time.Duration, begunOnly bool) *entry {
	if e := m.oldest(); e != nil && e.state == ready && (e.begun || !begunOnly) {
		return e
	}
	held, fresh := m.queues[0].front(), m.fresh.front()
	if begunOnly {
		fresh = nil
	}
	switch {
	case held != nil && (fresh == nil || held.seq < fresh.seq):
		m.refresh(held)
		return held
	case fresh != nil:
		return fresh
	}
	for level := 1; level < len(m.queues); level++ {
		if e := m.queues[level].front(); e != nil {
			return e
		}
	}
	return nil
}

// oldest is the job that a place is kept for, nil if none is.
func (m *MLFQ) oldest() *entry {
	for len(m.arrivals) > 0 && m.jobs[m.arrivals[0].id] == nil {
		m.arrivals[0] = nil
		m.arrivals = m.arrivals[1:]
	}
	if len(m.arrivals) == 0 || m.places < reserveFrom {
		return nil
	}
	e := m.arrivals[0]
	if e.state == onPlace && e.index >= 0 && e.rank != kept { // it has just become the oldest
		m.victims.remove(&e.node)
		e.rank = kept
		m.victims.push(&e.node)
	}
	return e
}

// turn is the slice of a level, and the least that is worth a turn of its own: what is
// left of an allotment that follows the jobs may be next to nothing.
func (m *MLFQ) turn(level int) (slice, least time.Duration) {
	if level < len(m.Levels) && m.Levels[level].Slice > 0 {
		return m.Levels[level].Slice, 1
	}
	slice = m.defaultSlice()
	return slice, slice / 2
}

func (m *MLFQ) slice(e *entry) time.Duration {
	m.refresh(e)
	s, least := m.turn(e.level)
	if e.level < len(m.queues)-1 {
		// What is left may be nothing, when the allotment has shrunk since.
		if left := m.allotment(e.level) - e.atLevel; left >= least && left < s+least {
			s = left
		}
	}
	return s
}

func (m *MLFQ) charge(_ time.Duration, e *entry, used time.Duration) {
	m.refresh(e)
	e.atLevel += used
	if e.level == len(m.queues)-1 {
		return
	}
	if _, least := m.turn(e.level); m.allotment(e.level)-e.atLevel < least {
		e.level, e.atLevel = e.level+1, 0
	}
}

// kept is the rank of the oldest job: it loses its place last.
const kept = -1

// placed orders the victims: the lowest level loses its place first.
func (m *MLFQ) placed(_ time.Duration, e *entry) {
	m.refresh(e)
	e.rank = int64(e.level)
	if e == m.oldest() {
		e.rank = kept
	}
}

func (m *MLFQ) beats(_ time.Duration, e, v *entry) bool {
	old := m.oldest()
	m.refresh(e)
	return v != old && (e == old || e.level < v.level)
}
