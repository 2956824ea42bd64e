package share

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
	"github.com/brood-go/brood/internal/wire"
)

// A depot on the simulated machine: items are two words that must be equal, so that a torn one
// shows.

// queueRuns is less than elsewhere, because each takes longer.
const queueRuns = 4_000

// simulatedBulk is a bulk file that is written and read in two steps.
type simulatedBulk struct {
	w *explore.World
	m map[uint64]*[2]uint64
}

func (b simulatedBulk) at(unit uint64) *[2]uint64 {
	if b.m[unit] == nil {
		b.m[unit] = new([2]uint64)
	}
	return b.m[unit]
}

func (b simulatedBulk) WriteBulk(unit uint64, data []byte) error {
	for i := range 2 {
		b.w.Step(fmt.Sprintf("writes half %d of bulk %d", i, unit))
		b.at(unit)[i] = binary.LittleEndian.Uint64(data[8*i:])
	}
	return nil
}

func (b simulatedBulk) ReadBulk(unit uint64, n int64, _ []byte) (data []byte, err error) {
	for i := range 2 {
		b.w.Step(fmt.Sprintf("reads half %d of bulk %d", i, unit))
		data = binary.LittleEndian.AppendUint64(data, b.at(unit)[i])
	}
	return data, nil
}

func (b simulatedBulk) TrimBulk(unit uint64) error {
	for i := range 2 {
		b.w.Step(fmt.Sprintf("trims half %d of bulk %d", i, unit))
		b.at(unit)[i] = 0
	}
	return nil
}

func (simulatedBulk) Annex(int) (uint64, error)             { return 0, errDepot }
func (simulatedBulk) AnnexBytes(uint64, int) ([]byte, bool) { return nil, false }
func (simulatedBulk) IsCorrupt(error) bool                  { return true }
func (simulatedBulk) BulkRoom() int64                       { return 1 << 40 }

// stall is a case: a depot, and what was done with it. Times are counted in what happened.
type stall struct {
	w      *explore.World
	words  []cell.Word
	rules  rules
	bulk   simulatedBulk
	length int // what the items pretend to be long

	put, got, done []uint64       // in the order in which the calls returned
	unsure         map[uint64]int // killed in the middle of putting, getting or ending it
	gettersLeft    int            // that live and have not finished
}

func newStall(w *explore.World, r rules) *stall {
	return &stall{
		w: w, words: w.Words("queue", objectWords), rules: r, bulk: simulatedBulk{w, map[uint64]*[2]uint64{}},
		length: 16, unsure: map[uint64]int{},
	}
}

func (s *stall) depot(p process) *depot {
	d, err := newDepot(p.Memory(), planted.words(s.words), s.rules, s.bulk, p.Local(), [depotGates]cell.Word{
		p.LocalWord("latch's gate"), p.LocalWord("getters' gate"), p.LocalWord("putters' gate"), p.LocalWord("owners' gate"),
	})
	if err != nil {
		s.w.Fail("%v", err)
	}
	return d
}

func (s *stall) parcel(v, prio uint64) parcel {
	data := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, v), v)
	return parcel{meta: metaOf(wire.CBOR, 1, s.length), prio: prio, data: data}
}

func (s *stall) value(c *catch) uint64 {
	a, b := binary.LittleEndian.Uint64(c.data), binary.LittleEndian.Uint64(c.data[8:])
	if a != b {
		s.w.Fail("an item is torn: %d, %d", a, b)
	}
	return a
}

// putItem is what a producer does.
func (s *stall) putItem(ctx context.Context, d *depot, v, prio uint64) error {
	p := s.parcel(v, prio)
	s.unsure[v]++
	var err error
	if d.rules.small(&p) {
		err = d.putters.wait(ctx, func(long bool) (bool, error) {
			token, err := d.enter(ctx)
			if err != nil {
				return false, err
			}
			return d.put(token, &p, true, long)
		})
	} else {
		var n uint64
		var sl *slot
		err = d.putters.wait(ctx, func(long bool) (bool, error) {
			token, err := d.enter(ctx)
			if err == nil {
				n, sl, err = d.reserve(token, &p, true, long)
			}
			return n != 0, err
		})
		if err == nil {
			err = d.deliver(ctx, n, sl, &p, d.enter)
		}
	}
	s.unsure[v]--
	if err == nil {
		s.put = append(s.put, v)
	}
	return err
}

// getItem is what a consumer does.
func (s *stall) getItem(ctx context.Context, d *depot) (c catch, err error) {
	s.gettersLeft++ // of who dies in the middle it is never taken back
	err = d.getters.wait(ctx, func(long bool) (bool, error) {
		token, err := d.enter(ctx)
		if err != nil {
			return false, err
		}
		return d.get(token, &c, true, long, false)
	})
	if err == nil && c.apart() {
		err = d.fetch(ctx, &c, d.enter)
	}
	s.gettersLeft--
	if err == nil {
		s.got = append(s.got, s.value(&c))
	}
	return c, err
}

// end ends a delivery.
func (s *stall) end(d *depot, c *catch, how func()) bool {
	token, err := d.enter(context.Background())
	if err != nil {
		s.w.Fail("%v", err)
	}
	mine := c.slot.state.Load() == c.state && c.slot.seq.Load() == c.seq
	if mine {
		how()
	}
	d.leave(token)
	return mine
}

// drain takes out what is left when all is over, as a process that comes last.
func (s *stall) drain() (left []uint64, d *depot, err error) {
	d = s.depot(process{s.w.Participant("last").Immortal()})
	for {
		token, err := d.enter(context.Background())
		if err != nil {
			return nil, d, err
		}
		var c catch
		ok, err := d.get(token, &c, true, false, true)
		if !ok {
			if err != nil && !errors.Is(err, ErrClosed) {
				return left, d, err
			}
			return left, d, s.empty(d)
		}
		if c.apart() && d.rules.attempts == 0 {
			data := s.bulk.at(c.slot.index)
			c.data = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, data[0]), data[1])
			token, _ = d.enter(context.Background())
			d.letGo(c.n, c.slot)
			d.leave(token)
		} else if c.apart() {
			data := s.bulk.at(c.slot.index)
			c.data = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, data[0]), data[1])
		}
		left = append(left, s.value(&c))
		if d.rules.attempts > 0 {
			s.end(d, &c, func() { d.letGo(c.n, c.slot) })
		}
	}
}

// empty checks that everything derived says that nothing is there.
func (s *stall) empty(d *depot) error {
	free := 0
	for n := uint64(1); d.at(n) != nil; n++ {
		if v := d.at(n).state.Load(); v != slotFree && v&slotCode != slotFailed {
			return fmt.Errorf("slot %d is left as %#x", n, v)
		} else if v == slotFree {
			free++
		}
	}
	for n := d.desk.free.Load(); n != 0; n = d.at(n).next.Load() {
		free--
	}
	if free != 0 || d.ready() != 0 || d.desk.stock.Load()>>32 != 0 || d.desk.held.Load() != 0 || d.desk.first.Load() != 0 || d.desk.kept.Load() > d.rules.keep {
		return fmt.Errorf("%d slots are lost; ready %d, reserved %d, held %d, first %d", free,
			d.ready(), d.desk.stock.Load()>>32, d.desk.held.Load(), d.desk.first.Load())
	}
	return nil
}

// check compares what was put with what was got and what is left. As many items may be lost as
// there were consumers that died while they got one.
func (s *stall) check(left []uint64, diedGetting int) error {
	seen := map[uint64]int{}
	for _, v := range append(slices.Clone(s.got), left...) {
		if seen[v]++; seen[v] > 1 {
			return fmt.Errorf("item %d is there twice: got %v, left %v", v, s.got, left)
		}
		if !slices.Contains(s.put, v) && s.unsure[v] == 0 {
			return fmt.Errorf("item %d is there, and was not put", v)
		}
	}
	lost := 0
	for _, v := range s.put {
		if seen[v] == 0 {
			lost++
		}
	}
	if lost > diedGetting {
		return fmt.Errorf("%d of %v are lost: got %v, left %v", lost, s.put, s.got, left)
	}
	return nil
}

// plainCase lets producers put items and consumers get as many.
func plainCase(r rules, producers, consumers, items int, cancels bool) func(*explore.World) {
	return func(w *explore.World) {
		s := newStall(w, r)
		var all []process
		if length := r.inline; length == 0 {
			s.length = 1 << 10
		}
		ctxOf := func(p process) context.Context {
			if cancels {
				return p.Context()
			}
			return context.Background()
		}
		waiting := map[string]func(d *depot) bool{} // who has not finished, and could go on
		for i := range producers {
			p := process{w.Participant(fmt.Sprintf("put%d", i))}
			all = append(all, p)
			d := s.depot(p)
			name := fmt.Sprintf("put%d", i)
			p.Serve("s", func() {
				waiting[name] = (*depot).hasRoom
				for k := range items {
					v := uint64(10*i + k + 1)
					if err := s.putItem(ctxOf(p), d, v, v%2); err != nil && !cancels {
						w.Fail("%v", err)
					}
				}
				delete(waiting, name)
			})
		}
		for i := range consumers {
			p := process{w.Participant(fmt.Sprintf("get%d", i))}
			all = append(all, p)
			d := s.depot(p)
			name := fmt.Sprintf("get%d", i)
			p.Serve("s", func() {
				waiting[name] = func(d *depot) bool { return d.ready() > 0 }
				for range items * producers / consumers {
					if _, err := s.getItem(ctxOf(p), d); err != nil && !cancels {
						w.Fail("%v", err)
					}
				}
				delete(waiting, name)
			})
		}
		w.Finally(func() error {
			last := s.depot(process{w.Participant("looker").Immortal()})
			token, err := last.enter(context.Background()) // buries
			if err != nil {
				return err
			}
			last.leave(token)
			died := 0
			for i, p := range all {
				name := fmt.Sprintf("put%d", i)
				if i >= producers {
					name = fmt.Sprintf("get%d", i-producers)
				}
				could, unfinished := waiting[name]
				switch {
				case unfinished && last.mem.Alive(p.ID()) && could(last):
					return fmt.Errorf("%s sleeps, and could go on", name)
				case unfinished && !last.mem.Alive(p.ID()) && i >= producers:
					died++
				}
			}
			left, _, err := s.drain()
			if err != nil {
				return err
			}
			if !cancels && died == 0 && producers == 1 && r.heap == false {
				if err := inOrderOf(r, s.got, consumers); err != nil {
					return err
				}
			}
			return s.check(left, died)
		})
	}
}

// inOrderOf checks that one consumer of a FIFO queue saw one producer's order.
func inOrderOf(r rules, got []uint64, consumers int) error {
	if consumers == 1 && r.order != nil && r.capacity == 1 && !slices.IsSorted(got) {
		return fmt.Errorf("got %v", got)
	}
	return nil
}

func fifoRules(capacity uint64, inline int) rules {
	return rules{order: firstIn, capacity: capacity, hands: 4, inline: inline, keep: 1 << 20}
}

func TestExploreQueue(t *testing.T) {
	for _, way := range []struct {
		name   string
		inline int
	}{{"small", 16}, {"large", 0}} {
		t.Run(way.name, func(t *testing.T) {
			t.Run("one to one", func(t *testing.T) {
				search{
					explore.Options{MaxRuns: queueRuns, Preemptions: 2, Kills: 1, Jumps: 1},
					explore.Options{Runs: queueRuns / 2, Kills: 1, Jumps: 2, AnyWake: true},
				}.run(t, plainCase(fifoRules(1, way.inline), 1, 1, 2, false))
			})
			t.Run("two to two", func(t *testing.T) {
				search{
					explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1, Jumps: 1},
					explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 3, AnyWake: true},
				}.run(t, plainCase(fifoRules(1, way.inline), 2, 2, 1, false))
			})
			t.Run("one to two", func(t *testing.T) {
				search{
					explore.Options{MaxRuns: queueRuns, Preemptions: 2, Jumps: 1},
					explore.Options{Runs: queueRuns / 2, Kills: 1, Jumps: 2, AnyWake: true},
				}.run(t, plainCase(fifoRules(2, way.inline), 1, 2, 2, false))
			})
			t.Run("cancelled", func(t *testing.T) {
				search{
					explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1, Cancels: 1},
					explore.Options{Runs: queueRuns / 2, Kills: 1, Cancels: 3, Jumps: 2, AnyWake: true},
				}.run(t, plainCase(fifoRules(1, way.inline), 2, 2, 1, true))
			})
		})
	}
	t.Run("cleared", func(t *testing.T) {
		r := fifoRules(1, 0)
		r.keep = 0
		search{
			explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1},
			explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 2, AnyWake: true},
		}.run(t, plainCase(r, 2, 1, 2, false))
	})
	t.Run("stack", func(t *testing.T) {
		search{
			explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1},
			explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 2, AnyWake: true},
		}.run(t, plainCase(rules{order: lastIn, stack: true, capacity: 3, hands: 4, inline: 16, keep: 1 << 20}, 2, 1, 2, false))
	})
	t.Run("priority", func(t *testing.T) {
		search{
			explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1},
			explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 2, AnyWake: true},
		}.run(t, plainCase(rules{order: byPriority, heap: true, capacity: 4, hands: 4, inline: 16, keep: 1 << 20}, 2, 1, 2, false))
	})
}

// joinableCase: items are put and the queue is closed; whoever works on them may die, but for one.
// All end, all is done, and what has failed is handed to who asks for it.
func joinableCase(r rules, workers, items int) func(*explore.World) {
	return func(w *explore.World) {
		s := newStall(w, r)
		if r.inline == 0 {
			s.length = 1 << 10
		}
		boss := process{w.Participant("boss").Immortal()}
		hands := map[uint64]string{} // who has an item
		d := s.depot(boss)
		ctx := context.Background()
		boss.Go("s", func() {
			for v := range uint64(items) {
				if err := s.putItem(ctx, d, v+1, 0); err != nil {
					w.Fail("%v", err)
				}
			}
			s.under(d, func() { d.finish(isClosed) })
			var left *FailedItemsError
			for {
				err := d.joiners.wait(ctx, func(bool) (bool, error) { return s.look(d, d.joined) })
				if err == nil {
					break
				}
				if !errors.As(err, &left) {
					w.Fail("join: %v", err)
				}
				for range left.Count {
					var c catch
					if ok, err := s.look(d, func() (bool, error) { return d.takeFailed(&c, false) }); !ok || err != nil {
						w.Fail("%d items have failed, and can't be had: %v", left.Count, err)
					}
					if uint64(c.attempt()) != r.attempts {
						w.Fail("an item failed after %d attempts", c.attempt())
					}
					if !s.end(d, &c, func() { d.letGo(c.n, c.slot) }) {
						w.Fail("a failed item was taken away")
					}
					s.done = append(s.done, 0)
				}
			}
		})
		for i := range workers {
			p := process{w.Participant(fmt.Sprintf("w%d", i))}
			if i == 0 {
				p.Immortal()
			}
			d := s.depot(p)
			p.Go("s", func() { s.work(w, p, d, hands) })
		}
		w.Finally(func() error {
			if left, _, err := s.drain(); len(left) != 0 || err != nil {
				return fmt.Errorf("left %v, %v", left, err)
			}
			unsure := 0 // killed between saying so and returning
			for _, n := range s.unsure {
				unsure += n
			}
			if len(s.done)+unsure < items {
				return fmt.Errorf("of %d items %v are done", items, s.done)
			}
			return nil
		})
	}
}

// work takes items and says that they are done, until there are no more.
func (s *stall) work(w *explore.World, p process, d *depot, hands map[uint64]string) {
	for {
		c, err := s.getItem(context.Background(), d)
		if errors.Is(err, ErrClosed) {
			return
		}
		if err != nil {
			w.Fail("%v", err)
		}
		v := s.value(&c)
		if slices.Contains(s.done, v) {
			w.Fail("item %d is delivered again after it was done", v)
		}
		leave := w.Inside(fmt.Sprintf("item %d", v), 1)
		w.Step("works")
		leave()
		s.unsure[v]++
		if !s.end(d, &c, func() { d.letGo(c.n, c.slot) }) {
			w.Fail("item %d was taken away", v)
		}
		s.unsure[v]--
		s.done = append(s.done, v)
	}
}

// look looks under the latch.
func (s *stall) look(d *depot, f func() (bool, error)) (ok bool, err error) {
	token, err := d.enter(context.Background())
	if err != nil {
		return false, err
	}
	ok, err = f()
	d.leave(token)
	return ok, err
}

// under does something under the latch.
func (s *stall) under(d *depot, f func()) {
	_, _ = s.look(d, func() (bool, error) {
		f()
		return true, nil
	})
}

func TestExploreJoinable(t *testing.T) {
	for _, way := range []struct {
		name   string
		inline int
	}{{"small", 16}, {"large", 0}} {
		t.Run(way.name, func(t *testing.T) {
			for _, attempts := range []uint64{1, 2} {
				r := rules{order: firstIn, capacity: 2, hands: 2, attempts: attempts, inline: way.inline, keep: 1 << 20}
				search{
					explore.Options{MaxRuns: queueRuns, Preemptions: 2},
					explore.Options{Runs: queueRuns / 2, Jumps: 1, AnyWake: true},
				}.run(t, joinableCase(r, 3, 2))
				search{
					explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1},
					explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 2, AnyWake: true},
				}.run(t, joinableCase(r, 2, 2))
			}
			r := rules{order: firstIn, capacity: 1, hands: 1, attempts: 1, inline: way.inline}
			search{
				explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1},
				explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 2, AnyWake: true},
			}.run(t, joinableCase(r, 3, 2))
		})
	}
}

// failedCase: what has failed is taken by processes that may die, until one that lives has done it all.
func failedCase(r rules, items int) func(*explore.World) {
	return func(w *explore.World) {
		s := newStall(w, r)
		ctx := context.Background()
		boss := process{w.Participant("boss").Immortal()}
		d := s.depot(boss)
		boss.Go("s", func() {
			for v := range uint64(items) {
				if err := s.putItem(ctx, d, v+1, 0); err != nil {
					w.Fail("%v", err)
				}
			}
			for range items {
				c, err := s.getItem(ctx, d)
				if err != nil {
					w.Fail("%v", err)
				}
				if !s.end(d, &c, func() { d.giveBack(c.n, c.slot, c.state, slotGivenUp) }) {
					w.Fail("an item was taken away")
				}
			}
			s.under(d, func() { d.finish(isClosed) })
		})
		for i := range 3 {
			p := process{w.Participant(fmt.Sprintf("f%d", i))}
			if i == 0 {
				p.Immortal()
			}
			d := s.depot(p)
			p.Go("s", func() {
				for {
					var c catch
					err := d.failers.wait(ctx, func(bool) (bool, error) {
						return s.look(d, func() (bool, error) { return d.takeFailed(&c, false) })
					})
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						w.Fail("%v", err)
					}
					v := s.value(&c)
					w.Inside(fmt.Sprintf("item %d", v), 1)()
					s.unsure[v]++
					if !s.end(d, &c, func() { d.letGo(c.n, c.slot) }) {
						w.Fail("a failed item was taken away")
					}
					s.unsure[v]--
					s.done = append(s.done, v)
				}
			})
		}
		w.Finally(func() error {
			unsure := 0
			for _, n := range s.unsure {
				unsure += n
			}
			if len(s.done)+unsure < items {
				return fmt.Errorf("of %d items %v are done", items, s.done)
			}
			left, d, err := s.drain()
			if err == nil && (len(left) != 0 || d.unfinished() != 0) {
				err = fmt.Errorf("left %v, %d are not done", left, d.unfinished())
			}
			return err
		})
	}
}

// What many dead leave is derived at once.
func TestExploreManyDead(t *testing.T) {
	defer func(n int) { manyDead = n }(manyDead)
	manyDead = 0
	for _, inline := range []int{16, 0} {
		r := rules{order: firstIn, capacity: 2, hands: 2, attempts: 2, inline: inline, keep: 1 << 20}
		search{
			explore.Options{MaxRuns: queueRuns / 2, Preemptions: 1, Kills: 1},
			explore.Options{Runs: queueRuns / 4, Kills: 2, Jumps: 2, AnyWake: true},
		}.run(t, joinableCase(r, 2, 2))
		search{
			explore.Options{MaxRuns: queueRuns / 2, Preemptions: 1, Kills: 1},
			explore.Options{Runs: queueRuns / 4, Kills: 2, Jumps: 2, AnyWake: true},
		}.run(t, plainCase(fifoRules(1, inline), 2, 2, 1, false))
	}
}

func TestExploreFailed(t *testing.T) {
	search{
		explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1},
		explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 2, AnyWake: true},
	}.run(t, failedCase(rules{order: firstIn, capacity: 2, hands: 2, attempts: 2, inline: 16, keep: 1 << 20}, 2))
}

// abortCase: a queue is aborted by one that may die meanwhile. Everybody is told, if it was, and
// nothing is left in it.
func abortCase(inline int) func(*explore.World) {
	return func(w *explore.World) {
		s := newStall(w, fifoRules(2, inline))
		if inline == 0 {
			s.length = 1 << 10
		}
		ctx := context.Background()
		ended := func(err error) bool {
			e := new(AbortError)
			return errors.As(err, &e)
		}
		for i, what := range []string{"put", "get"} {
			p := process{w.Participant(what).Immortal()}
			d := s.depot(p)
			p.Serve("s", func() {
				for v := uint64(1); ; v++ {
					var err error
					if i == 0 {
						err = s.putItem(ctx, d, v, 0)
					} else {
						_, err = s.getItem(ctx, d)
					}
					if ended(err) {
						return
					}
					if err != nil {
						w.Fail("%v", err)
					}
					if v == 2 {
						return
					}
				}
			})
		}
		for i := range 2 {
			p := process{w.Participant(fmt.Sprintf("a%d", i))}
			d := s.depot(p)
			p.Go("s", func() {
				s.under(d, func() {
					if d.status.Load()&isAborted == 0 {
						d.abort("enough")
					}
				})
			})
		}
		w.Finally(func() error {
			d := s.depot(process{w.Participant("last").Immortal()})
			token, err := d.enter(ctx)
			if err != nil {
				return err
			}
			defer d.leave(token)
			if d.status.Load()&isAborted == 0 {
				return nil
			}
			return s.empty(d)
		})
	}
}

func TestExploreAbort(t *testing.T) {
	for _, inline := range []int{16, 0} {
		search{
			explore.Options{MaxRuns: queueRuns, Preemptions: 1, Kills: 1},
			explore.Options{Runs: queueRuns / 2, Kills: 2, Jumps: 1, AnyWake: true},
		}.run(t, abortCase(inline))
	}
}
