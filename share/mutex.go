package share

import (
	"context"
	"errors"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// mutex is mutual exclusion between participants of which each may be killed between
// any two instructions. Lock and RLock are a mutex with a public face; the other
// primitives use one as their latch.
//
// # Layout
//
//	state  high half: the owner's ID, 0 if free
//	       bit 0      waiters: somebody may sleep on this word
//	       bit 1      wanted: somebody claims the lock for when it is next released
//	       bit 2      handed: the owner was given the lock, and has not noticed
//	       bit 3      dirty: who had it last did not release it
//	       bits 4–31  turn: counts releases and take-overs
//	epoch  counts the wraps of turn
//	heir   high half: the ID of the participant that claims, 0 if none
//	       bit 0      granted: an owner has decided to hand the lock to it
//
// Each process has a gate for each mutex on its heap; who is called the head below is the
// goroutine that is in it.
//
// # Invariants
//
//   - Handed implies an owner. A free word is neither handed nor wanted.
//   - (epoch, turn) never repeats and never decreases: it is the token. While somebody has the
//     lock the epoch may grow all the same, by one who found the owner before dead and was
//     overtaken: so a state is compared with a token by its turn alone.
//   - heir names a process only while its head claims, or when it is dead.
//   - heir is granted only while the lock has an owner, or when an heir or an owner died.
//
// # Ownership
//
// The owner is a process, and in it whoever has the token. State is changed by the owner,
// by who finds it free or its owner dead, and by waiters, who add waiters and wanted. heir
// is set by a head that has waited for patience, granted by the owner, and cleared by
// the heir's head.
//
// # Commits
//
// Each is a compare-and-swap of state: free for owned (acquire), owned for free
// (release), owned by one for owned by another and handed (hand over), handed for not
// (accept), owned by the dead for owned (take over). The turn grows with release, hand
// over and take over. When it would wrap, epoch is incremented before: a token that is
// never used is skipped.
//
// # Wake argument
//
// A head sleeps on state after it has set waiters in the very value that it sleeps on, with
// an owner in it that it has found alive, after Watch. It has to be woken when that
// owner releases or hands over, or dies. Releasing takes the waiters flag away and wakes one.
// The one that is woken sets the flag again when it acquires or sleeps, as it can't
// know whether there are others. If it gives up, it wakes another one or sets the flag,
// depending on whether it leaves a free word. If it, or who was to wake it, is killed, every
// sleeper is woken by that death. Handing over wakes all, as only one of them can go on.
//
// An owner that sees wanted hands over to the heir. It grants first, so that the heir
// which gives up knows: it withdraws its claim, and if that was granted it waits for what
// is coming, without regard to its context. Between the two the owner can be killed, and then the
// heir is woken and finds it dead; or stopped, and then the heir waits for it, as all do.
//
// # Deaths
//
//	killed after                  the others find
//	taking it                     an owner that is dead: one takes over, and its guard says Recovered
//	epoch is incremented          the same, or a free lock, and a gap in the tokens
//	granting                      the same; the heir's claim stands, and the next owner grants it again
//	freeing, before waking        a free lock, and all are awake
//	handing over, before waking   handed to the heir; all are awake
//	claiming                      an heir that is dead: the next to claim replaces it
//	being handed it               an owner that is dead and handed: nobody was inside,
//	                              so who takes over is told Recovered only if it was dirty
//	setting waiters or wanted     a flag too many: one wake-up or one look for nothing
//
// # Fairness and cost
//
// Who finds the lock free takes it, also when others wait for it longer: this keeps
// the lock busy while a sleeper wakes up. A head that has waited for patience claims, and
// is handed the lock at the next release. (One that is stopped then holds the others up, as an
// owner that is stopped.) Among the goroutines of one process it is
// first come, first served. Free, it costs two compare-and-swaps.
//
// # Trust
//
// An owner or heir that was made up is dead. Whoever finds its own ID where it has not put it
// believes it: that it has the lock, and waits until its context ends, or that it was granted
// the lock, and waits beyond. The ID of another one that lives is believed, too. No loop goes
// on unless somebody else changes a word.
type mutex struct {
	state, epoch, heir cell.Word
	mem                cell.Memory
	me                 cell.ID // mem's Self
	mine               uint64  // the same, as a state's high half
	gate               gate
}

// mutexWords is how many words a mutex has in shared memory.
const mutexWords = 3

const (
	hasWaiters = 1 << 0
	isWanted   = 1 << 1
	isHanded   = 1 << 2
	isDirty    = 1 << 3
	flagBits   = 4
	flags      = 1<<flagBits - 1
	oneTurn    = 1 << flagBits
	turnMask   = 1<<32 - 1 - flags
	turnBits   = 32 - flagBits

	isGranted = 1 << 0
)

// patience is how long a head lets others overtake it.
const patience = time.Millisecond

// grant is what acquiring gives.
type grant struct {
	token     uint64
	recovered bool // the lock was not released by who had it before
}

// newMutex is the mutex in the first words of mem, with a gate of this process in a word
// of local.
func newMutex(mem cell.Memory, words []cell.Word, local cell.Memory, word cell.Word) mutex {
	return mutex{
		state: words[0], epoch: words[1], heir: words[2], mem: mem, me: mem.Self(), mine: owned(mem.Self()),
		gate: gate{word, local},
	}
}

func owner(state uint64) cell.ID { return cell.ID(state >> 32) }

func owned(id cell.ID) uint64 { return uint64(id) << 32 }

// token is the token of a state's owner. Only that owner can tell.
func (m *mutex) token(state uint64) uint64 { return tokenOf(m.epoch.Load(), state) }

// turnOf is the part of a token that the state has. Only within 2²⁸ turns does it tell whose
// turn it is.
func turnOf(token uint64) uint32 { return uint32(token-1) & (1<<turnBits - 1) }

// isTurn reports whether a state is of the turn of a token. The epoch does not count: who finds
// the owner dead and is overtaken may increment it when somebody else has the lock.
func isTurn(state, token uint64) bool { return state&turnMask == uint64(turnOf(token))<<flagBits }

func tokenOf(epoch, state uint64) uint64 {
	return epoch<<turnBits + (state&turnMask)>>flagBits + 1
}

// tryFast takes a lock that is free and clean.
func (m *mutex) tryFast() (grant, bool) {
	s := m.state.Load()
	if s&^turnMask != 0 || !m.state.CompareAndSwap(s, s|m.mine) {
		return grant{}, false
	}
	return grant{token: m.token(s)}, true
}

// try takes the lock if nobody alive has it.
func (m *mutex) try() (grant, bool) {
	for {
		s := m.state.Load()
		next, ok := m.takable(s, false, false)
		if !ok {
			return grant{}, false
		}
		if m.take(s, next) {
			return m.granted(s, next), true
		}
	}
}

// lock waits for the lock.
func (m *mutex) lock(ctx context.Context) (grant, error) {
	if g, ok := m.tryFast(); ok {
		return g, nil
	}
	return m.lockSlow(ctx)
}

func (m *mutex) lockSlow(ctx context.Context) (grant, error) {
	began := m.mem.Now()
	if err := m.gate.enter(ctx); err != nil {
		return grant{}, err
	}
	defer m.gate.leave()
	return m.contend(ctx, began)
}

// takable says what a state becomes when this participant takes the lock, if it may. A head
// may take what was handed to its process.
func (m *mutex) takable(s uint64, head, slept bool) (next uint64, ok bool) {
	switch id := owner(s); {
	case id == 0:
		next = m.mine | s&(turnMask|hasWaiters)
	case id == m.me:
		if !head || s&isHanded == 0 {
			return 0, false
		}
		next = s &^ (isHanded | isDirty)
	case m.mem.Alive(id):
		return 0, false
	default:
		next = m.mine | (s+oneTurn)&turnMask | s&(hasWaiters|isWanted)
	}
	if slept {
		next |= hasWaiters
	}
	return next, true
}

// take replaces a state by what takable made of it.
func (m *mutex) take(s, next uint64) bool {
	m.minding(s, next)
	return m.state.CompareAndSwap(s, next)
}

// minding increments the epoch if the turn is about to wrap.
func (m *mutex) minding(s, next uint64) {
	if next&turnMask < s&turnMask {
		e := m.epoch.Load()
		m.epoch.CompareAndSwap(e, e+1)
	}
}

// granted is what taking s gave.
func (m *mutex) granted(s, next uint64) grant {
	died := owner(s) != 0 && s&isHanded == 0
	return grant{token: m.token(next), recovered: died || s&isDirty != 0}
}

// contend is what the head does.
func (m *mutex) contend(ctx context.Context, began time.Duration) (grant, error) {
	var claims, slept, looked bool
	for {
		deaths := m.mem.Watch()
		s := m.state.Load()
		if next, ok := m.takable(s, true, slept); ok {
			if m.take(s, next) {
				if claims {
					m.settle()
				}
				return m.granted(s, next), nil
			}
			continue
		}
		if !looked {
			looked = true
			if m.mem.Spin(m.state, uint32(s)) {
				continue
			}
		}
		if !claims && m.mem.Now()-began >= patience {
			claims = m.claim()
		}
		asleep := s | hasWaiters
		if claims {
			asleep |= isWanted
		}
		if s != asleep && !m.state.CompareAndSwap(s, asleep) {
			continue
		}
		err := m.mem.Wait(ctx, m.state, uint32(asleep), deaths)
		slept = true
		if err == nil {
			continue
		}
		if claims && !m.withdraw() && !errors.Is(err, cell.ErrClosed) {
			ctx = context.WithoutCancel(ctx) // it is coming
			continue
		}
		m.passOn()
		return grant{}, err
	}
}

// passOn is for a head that slept and gives up. It may be the one that was woken, so
// that nobody else knows of those who still sleep.
func (m *mutex) passOn() {
	for {
		s := m.state.Load()
		if owner(s) == 0 {
			m.mem.Wake(m.state, 1)
			return
		}
		if s&hasWaiters != 0 || m.state.CompareAndSwap(s, s|hasWaiters) {
			return
		}
	}
}

// claim makes this process the heir, if there is none that lives.
func (m *mutex) claim() bool {
	h := m.heir.Load()
	id := owner(h)
	if id != 0 && id != m.me && m.mem.Alive(id) {
		return false
	}
	return m.heir.CompareAndSwap(h, m.mine)
}

// withdraw takes the claim back, unless an owner has granted it.
func (m *mutex) withdraw() bool {
	return m.heir.CompareAndSwap(m.mine, 0) || m.heir.Load() != m.mine|isGranted
}

// settle ends a claim that has served its purpose.
func (m *mutex) settle() {
	if me := m.mine; !m.heir.CompareAndSwap(me, 0) {
		m.heir.CompareAndSwap(me|isGranted, 0)
	}
}

// holds reports whether the lock is this participant's, by the given token.
func (m *mutex) holds(token uint64) bool {
	s := m.state.Load()
	return owner(s) == m.me && s&isHanded == 0 && isTurn(s, token)
}

// unlock gives up the lock that was taken with a token, and reports false if it is
// not held with that token. Dirty tells the next owner that it was not released
// properly.
func (m *mutex) unlock(token uint64, dirty bool) bool {
	s := m.state.Load()
	if turn := s & turnMask; s == m.mine|turn && turn != turnMask && !dirty && isTurn(s, token) && m.state.CompareAndSwap(s, turn+oneTurn) {
		return true
	}
	return m.unlockSlow(token, dirty)
}

func (m *mutex) unlockSlow(token uint64, dirty bool) bool {
	s := m.state.Load()
	if owner(s) != m.me || s&isHanded != 0 || !isTurn(s, token) {
		return false
	}
	var mark uint64
	if dirty {
		mark = isDirty
	}
	turn := s & turnMask
	for {
		next := (s+oneTurn)&turnMask | mark
		wake := int(s & hasWaiters)
		if s&isWanted != 0 {
			h := m.heir.Load()
			if id := owner(h); id != 0 {
				if h&isGranted == 0 && !m.heir.CompareAndSwap(h, h|isGranted) {
					continue
				}
				next |= owned(id) | isHanded | hasWaiters
				wake = cell.All
			}
		}
		m.minding(s, next)
		if m.state.CompareAndSwap(s, next) {
			if wake > 0 {
				m.mem.Wake(m.state, wake)
			}
			return true
		}
		s = m.state.Load()
		if owner(s) != m.me || s&isHanded != 0 || s&turnMask != turn {
			return false
		}
	}
}
