package share

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// fill puts items of as many MiB as it is told, one after the other.
func (a *actor) fill() error {
	q, err := NewQueue[[]byte](a.space, "q", 1)
	if err != nil {
		return err
	}
	v := bytes.Repeat([]byte{7}, max(ownMemory(), 1))
	for a.ctx.Err() == nil {
		if err := q.Put(a.ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// empty gets items.
func (a *actor) empty() error {
	q, err := NewQueue[[]byte](a.space, "q", 1)
	if err != nil {
		return err
	}
	for {
		if _, err := q.Get(a.ctx); err != nil {
			return err
		}
	}
}

// hand gets items, with as much memory as it is told, and keeps them in hand.
func (a *actor) hand() error {
	q, err := NewJoinableQueue[int](a.space, "j", JoinableOptions{Capacity: 10, Attempts: 1 << 20})
	if err != nil {
		return err
	}
	memory := make([]byte, ownMemory())
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	for {
		d, err := q.Get(a.ctx)
		if err != nil {
			return err
		}
		fmt.Println("has", d.Value, d.Attempt(), len(memory))
	}
}

// waitUntil looks until something that has no event is so.
func (c *cast) waitUntil(what string, holds func() bool) {
	c.t.Helper()
	eventually(c.t, what, holds)
}

// sortedTimes are times for the log.
func sortedTimes(t *testing.T, what string, times []time.Duration) {
	slices.Sort(times)
	t.Logf("%s: p50 %v, p99 %v", what, times[len(times)/2], times[len(times)*99/100])
}

// A producer is killed in the middle of putting 64 MiB: the room that it had reserved is there for
// the next one, and nothing of the item.
func TestProducerKilled(t *testing.T) {
	c := newCast(t)
	q := must(NewQueue[[]byte](c.space, "q", 1))
	rounds := 10
	if long {
		rounds = 200
	}
	var times []time.Duration
	for round := range rounds {
		p := c.start("fill", memoryVar+"=64")
		c.waitUntil("an item is on its way", func() bool { return q.t.desk.stock.Load()>>32 == 1 || q.Len() > 0 })
		for q.Len() > 0 { // it was too quick
			if v, err := q.Get(bounded(t)); err != nil || len(v) != 64<<20 {
				t.Fatal(len(v), err)
			}
			c.waitUntil("the next item is on its way", func() bool { return q.t.desk.stock.Load()>>32 == 1 || q.Len() > 0 })
		}
		c.kill(p)
		begin := time.Now()
		if err := q.Put(bounded(t), []byte{byte(round)}); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(begin))
		v, err := q.Get(bounded(t))
		if len(v) == 64<<20 { // the kill came after the item was put
			if !bytes.Equal(v, bytes.Repeat([]byte{7}, 64<<20)) {
				t.Fatal("a torn item")
			}
			v, err = q.Get(bounded(t))
		}
		if err != nil || !bytes.Equal(v, []byte{byte(round)}) || q.Len() != 0 {
			t.Fatal(len(v), err, q.Len())
		}
	}
	sortedTimes(t, "until there is room after the death of a producer of 64 MiB", times)
}

// A consumer is killed in the middle of getting 64 MiB: the item is there for the next one.
func TestConsumerKilled(t *testing.T) {
	c := newCast(t)
	q := must(NewQueue[[]byte](c.space, "q", 1))
	rounds := 10
	if long {
		rounds = 200
	}
	item := bytes.Repeat([]byte("brood..."), 8<<20)
	var times []time.Duration
	kept := 0
	for range rounds {
		p := c.start("empty")
		if err := q.Put(bounded(t), item); err != nil {
			t.Fatal(err)
		}
		c.waitUntil("the item is being read", func() bool { return q.t.desk.held.Load() == 1 || q.Empty() })
		c.kill(p)
		begin := time.Now()
		var v []byte
		var err error
		c.waitUntil("the item is back, or had been handed over", func() bool {
			v, err = q.TryGet()
			return err == nil || q.t.desk.held.Load() == 0 && q.Empty()
		})
		switch {
		case err == nil:
			kept++
			times = append(times, time.Since(begin))
			if !bytes.Equal(v, item) {
				t.Fatal("a torn item")
			}
		case !errors.Is(err, ErrEmpty): // it had been handed over
			t.Fatal(err)
		}
	}
	if kept == 0 {
		t.Error("no item was given back")
	} else {
		sortedTimes(t, "until an item of 64 MiB was got after the death of a consumer", times)
	}
}

// Deliveries of a killed process are delivered again, in their old place, at once.
func TestDeliveriesOfTheKilled(t *testing.T) {
	rounds := 20
	if long {
		rounds = 500
	}
	for _, mib := range []string{"0", "64"} {
		t.Run(mib+" MiB", func(t *testing.T) {
			c := newCast(t)
			q := must(NewJoinableQueue[int](c.space, "j", JoinableOptions{Capacity: 10, Attempts: 1 << 20}))
			var times []time.Duration
			for round := range rounds {
				p := c.start("hand", memoryVar+"="+mib)
				must(q.PutAll(bounded(t), 1, 2))
				for n := 1; n <= 2; n++ {
					if said := p.says(t, "has"); said[0] != fmt.Sprint(n) || said[1] != "1" {
						t.Fatal(round, said)
					}
				}
				must(q.PutAll(bounded(t), 3))
				if said := p.says(t, "has"); said[0] != "3" {
					t.Fatal(round, said)
				}
				got := make(chan time.Time)
				go func() {
					for n := 1; n <= 4; n++ {
						d, err := q.Get(bounded(t))
						if err != nil || n < 4 && (d.Value != n || d.Attempt() != 2) {
							t.Error(n, d, err)
						} else if err := d.Done(); err != nil {
							t.Error(err)
						}
						if n == 1 {
							got <- time.Now()
						}
					}
					close(got)
				}()
				asleep(t, 1, "(*line).wait")
				begin := time.Now()
				c.kill(p)
				times = append(times, (<-got).Sub(begin))
				must(q.PutAll(bounded(t), 4))
				<-got
				if err := q.Join(bounded(t)); err != nil {
					t.Fatal(err)
				}
			}
			sortedTimes(t, "until a delivery of the killed was another's", times)
		})
	}
}

// endVar is the address of a pipe's end.
const endVar = "BROOD_SHARE_TEST_END"

// pipeEnd answers what it receives.
func (a *actor) pipeEnd() error {
	data, err := base64.StdEncoding.DecodeString(os.Getenv(endVar))
	if err != nil {
		return err
	}
	var e End[int]
	if err := e.UnmarshalBinary(data); err != nil {
		return err
	}
	for v, err := range e.All(a.ctx) {
		if err == nil {
			err = e.Send(a.ctx, 2*v)
		}
		if err != nil {
			return err
		}
	}
	fmt.Println("over")
	return nil
}

// The end of a process with the other end is the end of the pipe, until another one has it.
func TestPipePeerKilled(t *testing.T) {
	c := newCast(t)
	ctx := bounded(t)
	a, b, err := NewPipe[int](c.space, "p", PipeOptions{Capacity: 2})
	if err != nil {
		t.Fatal(err)
	}
	env := endVar + "=" + base64.StdEncoding.EncodeToString(must(b.MarshalBinary()))
	for range 5 {
		p := c.start("end", env)
		c.waitUntil("it has the end", func() bool { return a.TrySend(1) == nil }) // not the one before
		v, err := a.Receive(ctx)
		if v != 2 || err != nil {
			t.Fatal(v, err)
		}
		errs := make(chan error)
		go func() {
			_, err := a.Receive(ctx)
			errs <- err
		}()
		asleep(t, 1, "(*line).wait")
		c.kill(p)
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Error(err)
		} else {
			contains(t, err, "every process that had the other end has died or left")
		}
		for err = a.TrySend(7); err == nil; err = a.TrySend(7) { // nobody knows yet
		}
		if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		if err := a.Send(ctx, 7); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		for err = nil; err == nil; { // what nobody received, without using the end
			_, err = b.e.in.get(context.Background(), new(catch), how{now: true})
		}
	}
	p := c.start("end", env)
	c.waitUntil("it is there", func() bool { return a.TrySend(1) == nil })
	if v, err := a.Receive(ctx); v != 2 || err != nil {
		t.Error(v, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	p.says(t, "over")
}
