package space

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// garbage is a word that a peer might write to do harm.
func garbage(rnd *rand.Rand) uint64 {
	switch rnd.IntN(7) {
	case 0:
		return 0
	case 1:
		return ^uint64(0)
	case 2:
		return uint64(rnd.IntN(1 << 12))
	case 3:
		return firstUnit + uint64(rnd.IntN(2000)) // an index
	case 4:
		return endUnit - 2 + uint64(rnd.IntN(4))
	case 5:
		return recordHead(1, "x", nameHash("x"))
	}
	return rnd.Uint64()
}

// spoil writes garbage everywhere, in one of several ways. What is below from stays.
func spoil(s *storage, rnd *rand.Rand, from int) {
	size := int(s.size.Load())
	switch rnd.IntN(4) {
	case 0: // all of it
		for off := from; off < size; off += 8 {
			s.word(off).Store(garbage(rnd))
		}
	case 1: // the same everywhere
		v := garbage(rnd)
		for off := from; off < size; off += 8 {
			s.word(off).Store(v)
		}
	case 2: // here and there
		for range 1000 {
			s.word(from + rnd.IntN((size-from)/8)*8).Store(garbage(rnd))
		}
	case 3: // what is read most
		for _, off := range []int{membershipAt, highAt, nextAt, slotsAt + rnd.IntN(slots)*slotSize, bucketsAt + int(nameHash("x")%buckets)*8} {
			s.word(off).Store(garbage(rnd))
		}
	}
}

// use calls everything once. Errors are right, as is whatever is found.
func use(f *File, rnd *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	deaths := f.Watch()
	if o, err := f.Object(1, string(rune('w'+rnd.IntN(3))), [2]uint64{}); err == nil {
		w := o.Word(rnd.IntN(ObjectWords))
		w.CompareAndSwap(w.Load(), garbage(rnd))
		_ = f.Wait(ctx, w, uint32(w.Load()), deaths)
		f.Wake(w, cell.All)
		f.Spin(w, 0)
	}
	n := 0
	for o := range f.Objects() {
		o.Word(0).Load()
		if n++; n > 2000 {
			break
		}
	}
	for _, p := range f.Participants() {
		f.Alive(p.ID)
		_ = p.String()
	}
	f.Alive(cell.ID(garbage(rnd)))
	if e, err := f.Extend(); err == nil {
		e.At(cell.ExtentWords - 1).Store(1)
	}
	_ = f.WriteBulk(garbage(rnd), []byte("x"))
	_, _ = f.ReadBulk(garbage(rnd), int64(garbage(rnd)), nil)
	_ = f.TrimBulk(garbage(rnd))
	if e, ok := f.Extent(garbage(rnd)); ok {
		e.At(cell.ExtentWords - 1).Store(1)
	}
}

// Whatever a peer writes, nobody crashes, hangs, or reads outside.
func TestGarbage(t *testing.T) {
	dir := testDir(t)
	rounds := 40
	if testing.Short() {
		rounds = 6
	}
	deadline := time.AfterFunc(hang, func() { panic("hanging in garbage") })
	defer deadline.Stop()
	for seed := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(seed), 3))
		f, err := Open(dir, "garbage")
		if err != nil {
			t.Fatal(err)
		}
		p := start(t, dir, "garbage") // somebody lives whose slot is garbage, too
		if rnd.IntN(2) == 0 {
			f.Watch()
		}
		end := make(chan struct{})
		var wg sync.WaitGroup
		for g := range 2 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(seed), uint64(10+g)))
				for n := 0; ; n++ {
					select {
					case <-end:
						if n > 5 {
							return
						}
					default:
					}
					use(f, rnd)
				}
			})
		}
		for range 5 {
			spoil(f.storage, rnd, 0)
		}
		close(end)
		if rnd.IntN(2) == 0 {
			wg.Wait()
		}
		if v, err := Peek(dir, "garbage"); err == nil {
			v.Close()
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		p.kill()
		_ = Remove(dir, "garbage", true)
	}
}

// Who opens a space full of garbage gets an error, or something to work with.
func TestOpenGarbage(t *testing.T) {
	dir := testDir(t)
	p := start(t, dir, "garbage")
	opened, rounds := 0, 60
	if testing.Short() {
		rounds = 15
	}
	for seed := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(seed), 4))
		f, err := Open(dir, "garbage")
		if errors.Is(err, ErrFull) { // all generations are used up, it seems
			v, err := Peek(dir, "garbage")
			if err != nil {
				t.Fatal(err)
			}
			for range v.Objects() {
			}
			v.Participants()
			v.Close()
			p.kill()
			p = start(t, dir, "garbage")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		opened++
		use(f, rnd)
		spoil(f.storage, rnd, headerSize)
		use(f, rnd)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if opened < rounds/4 {
		t.Errorf("opened %d times only", opened)
	}
	p.kill()
	// The last one is dead, and nothing in the file matters any more.
	open(t, dir, "other")
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 { // with its bulk
		t.Errorf("after the sweep there are %v", left)
	}
}
