package share

import (
	"context"
	"fmt"
	"testing"

	"github.com/brood-go/brood/internal/cell"
	file "github.com/brood-go/brood/internal/space"
)

// stay takes part, and does nothing.
func (a *actor) stay() error {
	fmt.Println("stays")
	<-a.ctx.Done()
	return nil
}

// latched holds the latch of the table of sleepers, as one that was stopped.
func (a *actor) latched() error {
	t := a.space.space.sleepers
	g, err := t.latch.lock(a.ctx)
	if err != nil {
		return err
	}
	fmt.Println("holds")
	<-a.ctx.Done()
	t.latch.unlock(g.token, false)
	return nil
}

// Joining and leaving, again and again, takes nothing of the space.
func TestJoinsCostNothing(t *testing.T) {
	c := newCast(t)
	c.start("stay").says(t, "stays")
	if err := c.space.Close(); err != nil {
		t.Fatal(err)
	}
	var first uint64
	for i := range 100 {
		s := must(Open(c.space.Name()))
		index := s.space.sleepers.extent.Index
		if i == 0 {
			first = index
		}
		if index != first {
			t.Errorf("join %d has extent %d, the first had %d", i, index, first)
		}
		s.space.sleeping(&object{index: 7}) // and leaves it asleep
		for _, w := range s.space.sleepers.roster.entries()[2:] {
			if e := w.Load(); e != 0 {
				t.Errorf("join %d: an entry %x too many", i, e)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := must(Open(c.space.Name()))
	defer s.Close()
	for i := range cell.ExtentWords {
		if v := s.space.sleepers.extent.At(i).Load(); v != 0 {
			t.Errorf("word %d of a dead one's extent is still %x", i, v)
		}
	}
}

// Who holds the table's latch and does not go on keeps nobody from opening the space.
func TestOpenWithoutSleepers(t *testing.T) {
	c := newCast(t)
	c.start("latched").says(t, "holds")
	if err := c.space.Close(); err != nil {
		t.Fatal(err)
	}
	opened := make(chan *Space, 1)
	go func() { opened <- must(Open(c.space.Name())) }()
	var s *Space
	select {
	case s = <-opened:
	case <-bounded(t).Done():
		t.Fatal("Open waits for the table of sleepers")
	}
	defer s.Close()
	if s.space.sleepers != nil {
		t.Error("it has joined the table")
	}
	l := must(s.Lock("l"))
	g := must(l.Acquire(bounded(t)))
	wait := start(func() { must(l.Acquire(bounded(t))).Release() })
	asleep(t, 1, "TestOpenWithoutSleepers.func")
	g.Release()
	wait()
}

// full is a memory that gives nothing.
type full struct{ cell.Extender }

func (full) Extend() (cell.Extent, error) { return cell.Extent{}, file.ErrFull }

// Nor does a space in which there is no room for the table.
func TestFullWithoutSleepers(t *testing.T) {
	s := Local()
	defer s.Close()
	s.space.mem = full{s.space.mem}
	s.space.openSleepers()
	if s.space.sleepers != nil {
		t.Error("there is a table without words")
	}
	if bit := s.space.sleeping(&object{}); bit >= 0 {
		t.Errorf("word %d says that somebody sleeps", bit)
	}
	_, err := must(s.Lock("l")).Acquire(context.Background())
	if err != nil {
		t.Error(err)
	}
}
