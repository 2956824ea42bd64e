package share

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// DeadlockError is returned to the one that would close a circle of strands which wait for each
// other, in one process or in all that share a space. It names them all. The others wait
// on, until the one that got the error gives up what they need. It is told at once, also if a
// context on the circle has a deadline that would end it in time.
type DeadlockError = waits.DeadlockError

// DeadlockEdge is one step of the circle.
type DeadlockEdge = waits.Edge

// block notes that the caller is about to sleep until it gets t. The sleep is bounded by the
// context that is returned.
func (s *space) block(ctx context.Context, t target) (sleep context.Context, end func(), err error) {
	var w *waits.Wait
	if !s.options.NoDeadlockDetection {
		w, err = waits.Begin(ctx, waits.Agent{Goroutine: strand.Goroutine(), Strand: strand.From(ctx)}, t)
	}
	if err != nil {
		return nil, nil, err
	}
	bit := s.sleeping(t.base())
	return w.Context(ctx), func() {
		s.awake(bit)
		w.End()
	}, nil
}

// target is a thing that somebody may hold.
type target interface {
	waits.Target
	base() *object
}

// Holders implements waits.Target.
func (l *lock) Holders() (goroutines []uint64, known bool) {
	g, _, _, ok := l.heldBy()
	if !ok {
		return nil, false
	}
	return []uint64{g}, true
}

// Guarded implements waits.Guarded.
func (*lock) Guarded() {}

// Told implements waits.Foreign.
func (l *lock) Told() bool { return l.space.register != nil }

// Extend implements waits.Foreign.
func (l *lock) Extend(dependents []waits.Agent) (withdraw func(), err error) {
	return l.space.extend(l.index, l.String(), dependents)
}

// wanted is a number of permits as somebody waits for them.
type wanted struct {
	*semaphore
	n int64
}

// Holders implements waits.Target. If there are enough permits nobody has to act, and to a
// semaphore that grows anybody may post one.
func (w wanted) Holders() (goroutines []uint64, known bool) {
	s := w.semaphore
	if !s.bounded || s.limit()-s.sum() >= w.n {
		return nil, false
	}
	goroutines, permits := s.keeper.goroutines()
	for _, w := range s.roster.entries() {
		if e := w.Load(); owner(e) != s.me && low(e) != 0 || owner(e) == s.me && int64(low(e)) != permits {
			return nil, false
		}
	}
	return goroutines, true
}

// Loose implements waits.Loose.
func (wanted) Loose() bool { return true }

// Thing implements waits.Loose.
func (w wanted) Thing() any { return w.semaphore }

// Told implements waits.Foreign.
func (w wanted) Told() bool { return w.bounded && w.space.register != nil }

// Extend implements waits.Foreign.
func (w wanted) Extend(dependents []waits.Agent) (withdraw func(), err error) {
	return w.space.extend(w.index, w.String(), dependents)
}

// Tell implements waits.Abroad.
func (s *space) Tell(dependents []waits.Agent, tag uint64, task string) (withdraw func(), err error) {
	return s.extend(tag, task, dependents)
}

// stake is what one goroutine holds of a thing: the turn of a lock, or a number of
// permits. Or it is a task that it runs, and others wait for: then index is its
// tag.
type stake struct {
	index uint64
	what  uint32
	agent waits.Agent
}

// pack is a stake in a word.
func (s stake) pack() uint64 {
	if s.index&waits.TagBit != 0 {
		return s.index
	}
	return s.index<<32 | uint64(s.what)
}

func unpack(word uint64) (index uint64, what uint32) {
	if word&waits.TagBit != 0 {
		return word, 0
	}
	return word >> 32, uint32(word)
}

// stakes are what a lock's holder has of it, if it is one of the agents.
func (l *lock) stakes(agents []waits.Agent) []stake {
	g, _, token, ok := l.heldBy()
	if !ok {
		return nil
	}
	i := slices.IndexFunc(agents, func(a waits.Agent) bool { return a.Goroutine == g })
	if i < 0 {
		return nil
	}
	return []stake{{l.index, turnOf(token), agents[i]}}
}

// stakes are what agents hold of a bounded semaphore.
func (s *semaphore) stakes(agents []waits.Agent) (all []stake) {
	if !s.bounded {
		return nil
	}
	for _, a := range agents {
		if n := s.keeper.permits(a.Goroutine); n > 0 {
			all = append(all, stake{s.index, uint32(n), a})
		}
	}
	return all
}

// register is where the processes of a space say which of their strands can't go on, so
// that circles through several processes are found.
//
// # Layout
//
//	0–2  latch
//	3    head of the words of the records, which lie in a roster one after the other
//
// A record says that a strand which holds one object can't go on before it gets another. It is
// eight words:
//
//	0    the participant's ID in the high half, and 1: 0 if the record is free
//	1    high half: the object that is held; low half: the lock's turn, or the permits. Or
//	     the tag of a task that the strand runs: a caller that waits for it can't go on either
//	2    the object, or the task, that is waited for
//	3    the goroutine
//	4–7  the strand's name
//
// # Ownership and commits
//
// A participant writes its own records, under the latch, the first word last; it frees them by
// one store of 0 at any time. Records of the dead are free.
//
// # Why circles are found, once
//
// Who closes a circle writes its records and then looks for the circle, both under the
// latch: the last one finds the records of all the others. It takes its own away before it
// leaves the latch, so that nobody else finds the circle again. A record counts only if
// the object is still held as it says. So one that its owner has not taken away yet,
// although it goes on, does no harm: what it waits for is now held by another turn.
//
// # Trust
//
// Indices are checked by who looks an object up. A made-up circle costs one wrong error.
type register struct {
	latch mutex
	words roster
	pause time.Time // until when nothing is noted; guarded by the table of waits
}

const recordWords = 8

// maxRegister bounds the register's extents: with more than 60,000 records nobody could
// find a circle in time.
const maxRegister = 1 << 14

// openRegister opens the space's register.
func (s *space) openRegister() error {
	words, _, err := s.store.words(kindRegister, reserved+"register", none)
	if err != nil {
		return err
	}
	r := &register{latch: newMutex(s.mem, words, &s.gates, s.gateWord())}
	r.words.init(s.mem, words[3], words[4:])
	r.words.max = maxRegister
	s.register = r
	return nil
}

// The latch is held for microseconds, but its holder may be stopped, or not be run by a busy
// machine. Whoever has waited for registerPatience sleeps without having been noted, and
// so does everybody here for registerPause, as all of them would wait one after the other,
// with the table of waits locked. After that they are noted, and look for a circle, in
// their sleep.
const (
	registerPatience = 5 * time.Millisecond
	registerPause    = 200 * time.Millisecond
)

// record is a record's content.
type record struct {
	id    cell.ID
	held  uint64
	what  uint32
	waits uint64
	who   string
	own   bool // it is one of those that are being written
}

// slot is the words of record i, if it is there.
func (r *register) slot(i int) (words []cell.Word, ok bool) {
	all := r.words.entries()
	if (i+1)*recordWords > len(all) {
		return nil, false
	}
	return all[i*recordWords : (i+1)*recordWords], true
}

// write writes a record of what someone holds into a free slot. The latch is held.
func (r *register) write(s stake, waitsFor uint64) ([]cell.Word, error) {
	for i := 0; ; i++ {
		words, ok := r.slot(i)
		if !ok {
			if err := r.words.grow(); err != nil {
				return nil, err
			}
			i--
			continue
		}
		if w := words[0].Load(); w != 0 && r.latch.mem.Alive(owner(w)) {
			continue
		}
		words[0].Store(0)
		words[1].Store(s.pack())
		words[2].Store(waitsFor)
		words[3].Store(s.agent.Goroutine)
		for j, v := range packName(s.agent) {
			words[4+j].Store(v)
		}
		words[0].Store(owned(r.latch.me) | 1)
		return words, nil
	}
}

// packName is the name of a strand as four words: as much of it as fits.
func packName(a waits.Agent) (words [4]uint64) {
	name := "a strand"
	if a.Strand != nil {
		name = fmt.Sprintf("%s %q", a.Strand.Kind, a.Strand.Name)
	}
	for i := 0; i < len(name) && i < 32; i++ {
		words[i/8] |= uint64(name[i]) << (i % 8 * 8)
	}
	return words
}

func unpackName(words []cell.Word) string {
	var name []byte
	for _, w := range words {
		v := w.Load()
		for range 8 {
			if c := byte(v); c >= ' ' && c < 0x7f {
				name = append(name, c)
			}
			v >>= 8
		}
	}
	return string(name)
}

// records are all that count. The latch is held.
func (r *register) records(own [][]cell.Word) (all []record) {
	for i := 0; ; i++ {
		words, ok := r.slot(i)
		if !ok {
			return all
		}
		w := words[0].Load()
		if w == 0 || !r.latch.mem.Alive(owner(w)) {
			continue
		}
		held, what := unpack(words[1].Load())
		all = append(all, record{
			id: owner(w), held: held, what: what, waits: words[2].Load(),
			who: fmt.Sprintf("%s (goroutine %d)", unpackName(words[4:]), words[3].Load()),
			own: slices.ContainsFunc(own, func(o []cell.Word) bool { return o[0] == words[0] }),
		})
	}
}

// stakes are what agents hold in the space, and the tasks that they run.
func (s *space) stakes(agents []waits.Agent) (stakes []stake) {
	for _, a := range agents {
		if tag := waits.Running(a); tag != 0 {
			stakes = append(stakes, stake{tag, 0, a})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.things {
		if h, ok := x.(interface{ stakes([]waits.Agent) []stake }); ok {
			stakes = append(stakes, h.stakes(agents)...)
		}
	}
	return stakes
}

// extend tells the other processes of the space what the agents have in it, who can't go on
// before one of them gets the object, or the task, of an index.
func (s *space) extend(index uint64, name string, agents []waits.Agent) (withdraw func(), err error) {
	if s.register == nil {
		return nil, nil
	}
	stakes := s.stakes(agents)
	if len(stakes) == 0 {
		return nil, nil
	}
	if wait := time.Until(s.register.pause); wait > 0 {
		return nil, &waits.Later{After: wait}
	}
	ctx, cancel := context.WithTimeout(context.Background(), registerPatience)
	defer cancel()
	g, err := s.register.latch.lock(ctx)
	if err != nil {
		s.register.pause = time.Now().Add(registerPause)
		return nil, &waits.Later{After: registerPause}
	}
	defer s.register.latch.unlock(g.token, false)
	var own [][]cell.Word
	withdraw = func() {
		for _, words := range own {
			words[0].Store(0)
		}
		runtime.KeepAlive(s) // the words are not Go's, and a closed space is in no list
	}
	for _, x := range stakes {
		words, err := s.register.write(x, index)
		if err != nil {
			break // it sleeps without having been noted
		}
		own = append(own, words)
	}
	if e := s.findCircle(index, name, agents[0], s.register.records(own)); e != nil {
		withdraw()
		return nil, e
	}
	return withdraw, nil
}

// findCircle follows the holder of an object, what that one waits for, its holder, and so on,
// to one of the caller's own. Whose processes they are is asked only if there is a circle.
func (s *space) findCircle(at uint64, name string, who waits.Agent, records []record) error {
	stuck := s.stuckObjects(records)
	var others []record
	for range len(records) + 1 {
		holders := stuck[at]
		if len(holders) == 0 {
			return nil
		}
		r := holders[0]
		if i := slices.IndexFunc(holders, func(r record) bool { return r.own }); i >= 0 {
			if len(others) == 0 {
				return nil // permits that may have been handed on
			}
			return s.circle(name, who, others)
		}
		others = append(others, r)
		at = r.waits
	}
	return nil
}

// circle is the error for who closes a circle with others.
func (s *space) circle(name string, who waits.Agent, others []record) *DeadlockError {
	e := &DeadlockError{Edges: []DeadlockEdge{{Strand: who.String(), PID: s.pid(s.mem.Self()), Waits: name}}}
	for _, r := range others {
		e.Edges = append(e.Edges, DeadlockEdge{Strand: r.who, PID: s.pid(r.id), Waits: s.objectName(r.waits)})
	}
	return e
}

// stuckObjects is the objects all of whose holders can't go on, with those: a greatest fixed
// point, as in package waits.
func (s *space) stuckObjects(records []record) map[uint64][]record {
	stuck := map[uint64][]record{}
	for _, r := range records {
		stuck[r.held] = append(stuck[r.held], r)
	}
	for index, holders := range stuck {
		if stuck[index] = s.allHolders(index, holders); stuck[index] == nil {
			delete(stuck, index)
		}
	}
	for changed := true; changed; {
		changed = false
		for index, holders := range stuck {
			if slices.ContainsFunc(holders, func(r record) bool { return stuck[r.waits] == nil || r.waits == index }) {
				delete(stuck, index)
				changed = true
			}
		}
	}
	return stuck
}

// allHolders is those of the records that are true of the object as it is now, if they
// account for all who hold it.
func (s *space) allHolders(index uint64, records []record) []record {
	if index&waits.TagBit != 0 {
		return records // of whoever runs the task
	}
	o, ok := s.store.object(index)
	if !ok {
		return nil
	}
	switch o.kind {
	case kindLock, kindRLock, kindConditionLock:
		m := mutex{state: o.words[0], epoch: o.words[1]}
		state := m.state.Load()
		for _, r := range records {
			if state&isHanded == 0 && r.id == owner(state) && r.what == turnOf(m.token(state)) {
				return []record{r}
			}
		}
	case kindBoundedSemaphore: // only if there is none left: how many somebody wants is not known
		var held roster
		held.init(s.mem, o.words[6], o.words[7:])
		n := 0
		for _, w := range held.entries() {
			n += int(low(w.Load()))
		}
		if n < int(o.params[0]) {
			return nil
		}
		for _, r := range records {
			n -= int(r.what)
		}
		if n == 0 {
			return records
		}
	}
	return nil
}

// objectName names an object of the space for a message.
func (s *space) objectName(index uint64) string {
	if index&waits.TagBit != 0 {
		return "a task in another process"
	}
	o, ok := s.store.object(index)
	if !ok {
		return fmt.Sprintf("object %d of %v", index, s)
	}
	return o.String()
}

// Those that other processes have a part in.
var (
	_ waits.Foreign = (*lock)(nil)
	_ waits.Foreign = (*rlock)(nil)
	_ waits.Foreign = wanted{}
)
