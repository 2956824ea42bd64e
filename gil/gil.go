package gil

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// DefaultSwitchInterval is CPython's (sys.getswitchinterval).
const DefaultSwitchInterval = 5 * time.Millisecond

// Options are those of a GIL. The zero Options are ready for use.
type Options struct {
	// Name names the GIL in errors and panics. The default is none.
	Name string

	// SwitchInterval is how long a thread waits before the one that has the GIL is asked to
	// give way, and so about how long one runs while others wait. The default is
	// DefaultSwitchInterval; it can't be negative. Python: sys.setswitchinterval.
	SwitchInterval time.Duration

	// NoDeadlockDetection lets threads wait for ever in a circle in which others get a
	// *DeadlockError. It makes a hand-over cheaper. The default is to detect deadlocks.
	NoDeadlockDetection bool
}

func (o Options) withDefaults() Options {
	if o.SwitchInterval == 0 {
		o.SwitchInterval = DefaultSwitchInterval
	}
	return o
}

func (o Options) validate() error {
	if o.SwitchInterval < 0 {
		return fmt.Errorf("gil: the switch interval is %v, it can't be negative: 0 is the default", o.SwitchInterval)
	}
	return nil
}

// DeadlockError is what a thread gets instead of waiting for ever: in a circle of goroutines
// that each wait for what the next one holds, a GIL, a lock of package share or a future, the
// one that would close it is told. It names all of them.
type DeadlockError = waits.DeadlockError

// Stats are counts since a GIL was made. They are kept where threads wait, so that a GIL
// which nobody waits for costs no counting.
type Stats struct {
	Waiting   int    // threads that wait now
	Waits     uint64 // times that a thread had to wait, those included in which it gave way
	HandOvers uint64 // times that the GIL went to a thread which waited
	Forced    uint64 // those at a safe point, because somebody had waited for the switch interval
	Requests  uint64 // times that the timer asked for one, as it saw no safe point in time
}

// GIL is a global interpreter lock: of the goroutines that have a [Thread] of it, one runs at a
// time. The zero GIL is ready for use. It must not be copied after that.
type GIL struct {
	options Options
	once    sync.Once
	lock    lock
	heap    cell.Heap
	words   [3]atomic.Uint64
	timer   *time.Timer
}

// New makes a GIL. It panics if an option is out of its range.
func New(o Options) *GIL {
	if err := o.validate(); err != nil {
		panic(err.Error())
	}
	return &GIL{options: o}
}

// prepare makes the zero GIL one that works.
func (g *GIL) prepare() {
	g.once.Do(func() {
		g.options = g.options.withDefaults()
		g.lock = lock{
			state: cell.At(&g.words[0]), due: cell.At(&g.words[1]), latch: cell.At(&g.words[2]),
			mem: &g.heap, interval: g.options.SwitchInterval, start: g.start,
		}
		waits.Arm() // whoever waits for anything may have the GIL
	})
}

// start lets the lock's timer run. It is called under the latch.
func (g *GIL) start(d time.Duration) {
	if g.timer == nil {
		g.timer = time.AfterFunc(d, g.lock.expire)
		return
	}
	g.timer.Reset(d)
}

// Attach makes the calling goroutine a thread of the GIL, which it does not have yet: see
// [Thread.Acquire]. The thread is for that goroutine alone, and needs no end, but must not
// have the GIL when its goroutine ends. [GIL.Do] sees to that; [Thread.Recovered] says where it is
// taken back otherwise.
func (g *GIL) Attach(name string) *Thread {
	g.prepare()
	t := &Thread{gil: g, lock: &g.lock, state: unknown, name: name, goroutine: strand.Goroutine()}
	t.waiter.mine, t.waiter.word = owned(t.goroutine), cell.At(&t.word)
	return t
}

// Do calls f in the calling goroutine as a thread of the given name, which may be empty, that has
// the GIL. It returns f's error, or the one of waiting for the GIL. When f is over the GIL is
// released if the thread has it: also when f panics or calls runtime.Goexit, and also
// when f has lost it (see [Thread.Unlocked]). A goroutine that has the GIL already must not
// call Do: that panics.
func (g *GIL) Do(ctx context.Context, name string, f func(ctx context.Context, t *Thread) error) error {
	t := g.Attach(name)
	if err := t.Acquire(ctx); err != nil {
		return err
	}
	defer func() {
		if t.Holds() {
			t.Release()
		}
	}()
	return f(ctx, t)
}

// Stats returns what was counted so far.
func (g *GIL) Stats() Stats {
	g.prepare()
	return g.lock.stats()
}

// SwitchInterval is the interval that is in force.
func (g *GIL) SwitchInterval() time.Duration {
	g.prepare()
	return g.options.SwitchInterval
}

// String names the GIL for a message.
func (g *GIL) String() string {
	if g.options.Name == "" {
		return "the GIL"
	}
	return fmt.Sprintf("GIL %q", g.options.Name)
}

// keeper is a GIL as strands have it.
type keeper struct{ g *GIL }

// Reclaim implements strand.Keeper: in the goroutine of a strand that ends. Only what that
// goroutine has is taken back, because who owns the GIL is a goroutine, and another one may
// still be at work. A strand that goes on with the next task tells it of the GIL anew.
func (k keeper) Reclaim(*strand.Strand) (held []string, gone bool) {
	l := &k.g.lock
	w := waiter{mine: owned(strand.Goroutine())}
	if !l.holds(&w) {
		return nil, true
	}
	l.abandon(&w)
	return []string{k.g.String()}, true
}

// Gone implements strand.Keeper.
func (k keeper) Gone() bool { return false }

// target is a GIL as somebody waits for it.
type target struct{ g *GIL }

// Holders implements waits.Target. Who was just handed the GIL may still be noted as one
// that waits for it, so it does not count.
func (t target) Holders() (goroutines []uint64, known bool) {
	s := t.g.lock.state.Load()
	if s == 0 || s&isHanded != 0 {
		return nil, false
	}
	return []uint64{owner(s)}, true
}

// String implements waits.Target.
func (t target) String() string { return t.g.String() }

// isDeadlock reports whether an error is one of a circle.
func isDeadlock(err error) bool {
	var d *DeadlockError
	return errors.As(err, &d)
}
