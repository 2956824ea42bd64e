package share

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// queueVar says what a process of a queue storm works on.
const queueVar = "BROOD_SHARE_TEST_QUEUE"

// stormItem is an item: whose it is, which one, and as much more as makes it large.
func stormItem(pid, n, size int) []byte {
	b := make([]byte, 24+size)
	binary.LittleEndian.PutUint64(b, uint64(pid))
	binary.LittleEndian.PutUint64(b[8:], uint64(n))
	binary.LittleEndian.PutUint64(b[16:], uint64(size))
	for i := range b[24:] {
		b[24+i] = byte(n + i)
	}
	return b
}

// parseItem reads an item, and finds out if it is torn.
func parseItem(b []byte) (pid, n int, err error) {
	if len(b) < 24 {
		return 0, 0, fmt.Errorf("an item of %d bytes", len(b))
	}
	pid, n = int(binary.LittleEndian.Uint64(b)), int(binary.LittleEndian.Uint64(b[8:]))
	if size := int(binary.LittleEndian.Uint64(b[16:])); size != len(b)-24 {
		return pid, n, fmt.Errorf("item %d of %d is torn: %d bytes of %d", n, pid, len(b)-24, size)
	}
	for i, c := range b[24:] {
		if c != byte(n+i) {
			return pid, n, fmt.Errorf("item %d of %d, with %d bytes, is torn at %d", n, pid, len(b), i)
		}
	}
	return pid, n, nil
}

// itemSize is small, now and then large, and seldom huge.
func (a *actor) itemSize() int {
	switch k := a.rnd.IntN(1000); {
	case k == 0:
		return 1 << 20
	case k < 30:
		return a.rnd.IntN(64 << 10)
	case k < 150:
		return a.rnd.IntN(400)
	}
	return a.rnd.IntN(100)
}

// stormQueues are the queues of the storms, by the name of their kind.
func stormQueue(s *Space, kind string) (put func(context.Context, []byte) error, get func(context.Context) ([]byte, error), end func() error, err error) {
	const capacity = 50
	switch kind {
	case "stack":
		q, err := NewStack[[]byte](s, "q", capacity)
		return q.Put, q.Get, q.Close, err
	case "priority":
		q, err := NewPriorityQueue[[]byte](s, "q", capacity)
		return func(ctx context.Context, v []byte) error { return q.Put(ctx, v, int64(len(v)%3)) }, q.Get, q.Close, err
	case "pipe":
		a, b, err := NewPipe[[]byte](s, "q", PipeOptions{Capacity: capacity, OneWay: true})
		return a.Send, b.Receive, a.Close, err
	}
	q, err := NewQueue[[]byte](s, "q", capacity)
	return q.Put, q.Get, q.Close, err
}

func stormJoinable(s *Space) (*JoinableQueue[[]byte], error) {
	return NewJoinableQueue[[]byte](s, "q", JoinableOptions{Capacity: 50, Attempts: 1000, InHand: 6})
}

func stormPut(s *Space, kind string) (put func(context.Context, []byte) error, err error) {
	if kind == "joinable" {
		q, err := stormJoinable(s)
		return q.Put, err
	}
	put, _, _, err = stormQueue(s, kind)
	return put, err
}

// putItems puts items, and notes each that was put. Now and then it does not wait for long.
func (a *actor) putItems() error {
	put, err := stormPut(a.space, os.Getenv(queueVar))
	if err != nil {
		return err
	}
	pid := os.Getpid()
	for n := 1; a.ctx.Err() == nil; n++ {
		ctx, stop := a.ctx, func() {}
		if a.rnd.IntN(20) == 0 {
			c, cancel := context.WithTimeout(a.ctx, time.Duration(a.rnd.IntN(300))*time.Microsecond)
			ctx, stop = c, cancel
		}
		err := put(ctx, stormItem(pid, n, a.itemSize()))
		stop()
		switch {
		case err == nil:
			err = a.note("put %d", n)
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
			err = a.note("not %d", n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// getItems gets items until the queue is closed.
func (a *actor) getItems() error {
	_, get, _, err := stormQueue(a.space, os.Getenv(queueVar))
	if err != nil {
		return err
	}
	for {
		ctx, stop := context.Background(), func() {}
		if a.rnd.IntN(20) == 0 {
			c, cancel := context.WithTimeout(ctx, time.Duration(a.rnd.IntN(300))*time.Microsecond)
			ctx, stop = c, cancel
		}
		b, err := get(ctx)
		stop()
		switch {
		case errors.Is(err, ErrClosed):
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			continue
		case err != nil:
			return err
		}
		pid, n, err := parseItem(b)
		if err != nil {
			return err
		}
		if err := a.note("got %d %d", pid, n); err != nil {
			return err
		}
	}
}

// deliverItems gets items and says that they are done, until the queue is closed.
func (a *actor) deliverItems() error {
	q, err := stormJoinable(a.space)
	if err != nil {
		return err
	}
	for {
		d, err := q.Get(context.Background())
		switch {
		case errors.Is(err, ErrClosed):
			return nil
		case err != nil:
			return err
		}
		pid, n, err := parseItem(d.Value)
		if err != nil {
			return err
		}
		if err := a.note("got %d %d", pid, n); err != nil {
			return err
		}
		a.work()
		if a.rnd.IntN(50) == 0 {
			if err := errors.Join(a.note("back %d %d", pid, n), d.Return()); err != nil {
				return err
			}
			continue
		}
		if err := errors.Join(a.note("does %d %d", pid, n), d.Done(), a.note("done %d %d", pid, n)); err != nil {
			return err
		}
	}
}

// queueStorm lets producers and consumers work, kills one after the other, lets the producers
// end, closes the queue, and lets the consumers end.
func queueStorm(t *testing.T, kind, consumer string, end func(s *Space) error) *cast {
	kills := 60
	if long {
		kills = 2000 // a million items
	}
	c := newCast(t)
	if kind == "pipe" { // else it ends when all four at one end are killed before another has come
		a, b, err := NewPipe[[]byte](c.space, "q", PipeOptions{Capacity: 50, OneWay: true})
		if err := errors.Join(err, a.e.use(t.Context(), how{}), b.e.use(t.Context(), how{})); err != nil {
			t.Fatal(err)
		}
	}
	start := func(role string) *player { return c.start(role, queueVar+"="+kind) }
	producers, consumers := map[*player]bool{}, map[*player]bool{}
	for range 4 {
		producers[start("put")] = true
		consumers[start(consumer)] = true
	}
	for range kills {
		c.progress(100)
		for range rand.IntN(20000) { // somewhere in what it does
			unix.Getppid()
		}
		p := c.any()
		c.kill(p)
		if producers[p] {
			delete(producers, p)
			producers[start("put")] = true
		} else {
			delete(consumers, p)
			consumers[start(consumer)] = true
		}
	}
	c.progress(2000)
	for p := range producers {
		p.stdin.Close()
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("producer %d: %v", p.cmd.Process.Pid, err)
		}
		c.mu.Lock()
		delete(c.all, p.cmd.Process.Pid)
		c.mu.Unlock()
	}
	if err := end(c.space); err != nil {
		t.Error(err)
	}
	c.end()
	return c
}

// stormID is whose item it is, and which.
type stormID struct{ pid, n int }

func itemOf(t *testing.T, pid, n string) stormID {
	p, err := strconv.Atoi(pid)
	k, err2 := strconv.Atoi(n)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return stormID{p, k}
}

func TestStormQueue(t *testing.T) {
	for _, kind := range []string{"queue", "stack", "priority", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			c := queueStorm(t, kind, "get", func(s *Space) error {
				_, _, end, err := stormQueue(s, kind)
				return errors.Join(err, end())
			})
			put, got, last := map[stormID]bool{}, map[stormID]bool{}, map[stormID]int{}
			late := 0
			for _, f := range c.lines() {
				switch f[1] {
				case "put":
					put[itemOf(t, f[0], f[2])] = true
				case "got":
					it := itemOf(t, f[2], f[3])
					if got[it] {
						t.Errorf("item %v was got twice", it)
					}
					got[it] = true
					// One consumer sees each producer's items in order, but for what a killed one had
					// in the middle of a Get.
					pid, _ := strconv.Atoi(f[0])
					by := stormID{pid, it.pid}
					if it.n <= last[by] {
						late++
					}
					last[by] = max(last[by], it.n)
				case "not":
					if it := itemOf(t, f[0], f[2]); got[it] {
						t.Errorf("item %v was not put, and was got", it)
					}
				}
			}
			lost := 0
			for it := range put {
				if !got[it] {
					lost++
				}
			}
			for it := range got {
				if !put[it] && !c.killed[it.pid] {
					t.Errorf("item %v was got, and never put", it)
				}
			}
			if (kind == "queue" || kind == "pipe") && late > len(c.killed) {
				t.Errorf("%d items out of order, with %d kills", late, len(c.killed))
			}
			if lost > len(c.killed) {
				t.Errorf("%d items are lost, with %d kills", lost, len(c.killed))
			}
			t.Logf("%d items, %d kills, %d lost with the consumers that had them", len(put), len(c.killed), lost)
		})
	}
}

func TestStormJoinable(t *testing.T) {
	c := queueStorm(t, "joinable", "deliver", func(s *Space) error {
		q, err := stormJoinable(s)
		if err != nil {
			return err
		}
		return errors.Join(q.Close(), q.Join(t.Context()))
	})
	put, done, does := map[stormID]bool{}, map[stormID]bool{}, map[stormID]bool{}
	hands := map[stormID]int{} // who had it last
	again := 0
	for _, f := range c.lines() {
		pid, _ := strconv.Atoi(f[0])
		switch f[1] {
		case "put":
			put[itemOf(t, f[0], f[2])] = true
		case "got":
			it := itemOf(t, f[2], f[3])
			if by := hands[it]; by != 0 {
				if again++; !c.killed[by] {
					t.Errorf("%d got item %v, which %d had", pid, it, by)
				}
			}
			if done[it] {
				t.Errorf("%d got item %v, which was done", pid, it)
			}
			hands[it] = pid
		case "back":
			hands[itemOf(t, f[2], f[3])] = 0
		case "does":
			does[itemOf(t, f[2], f[3])] = true
		case "done":
			done[itemOf(t, f[2], f[3])] = true
		}
	}
	for it := range put {
		if by := hands[it]; !done[it] && !(does[it] && c.killed[by]) {
			t.Errorf("item %v is not done: %d had it last", it, by)
		}
	}
	t.Logf("%d items, %d kills, %d delivered again", len(put), len(c.killed), again)
}
