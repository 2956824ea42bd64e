package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/shm"
)

// dup is the descriptor as a peer receives it.
func dup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "peer")
}

func alloc(t *testing.T, s *Store, n int64) *Segment {
	t.Helper()
	g, err := s.Alloc(n)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestRef(t *testing.T) {
	r := Ref{1, math.MaxUint32, 1 << 40, math.MaxUint64}
	b := r.AppendTo([]byte("x"))
	if got, err := ParseRef(b[1:]); err != nil || got != r {
		t.Errorf("%v, %v, want %v", got, err, r)
	}
	for _, n := range []int{0, RefSize - 1, RefSize + 1} {
		if _, err := ParseRef(make([]byte, n)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestClass(t *testing.T) {
	last := int64(0)
	for n := int64(0); n < 64<<20; n += 4093 {
		c := class(n)
		if c < n || c < last || n > minClass && c > n+n/4 || c%4096 != 0 {
			t.Fatalf("class(%d) is %d after %d", n, c, last)
		}
		last = c
	}
	for n := int64(1); n < 1<<50; n *= 2 {
		if c := class(n); c != max(n, minClass) {
			t.Errorf("class(%d) is %d", n, c)
		}
	}
}

func TestReuse(t *testing.T) {
	s := NewStore(10 << 20)
	defer s.Close()
	g := alloc(t, s, 100000)
	if len(g.Bytes()) != 100000 || cap(g.Bytes()) != 100000 {
		t.Errorf("%d bytes, capacity %d", len(g.Bytes()), cap(g.Bytes()))
	}
	first := g.Ref()
	g.Retain()
	g.Release()
	other := alloc(t, s, 100000)
	if other.ID() == first.ID {
		t.Error("a retained segment was given out again")
	}
	g.Release()
	again := alloc(t, s, 120000)
	if r := again.Ref(); r.ID != first.ID || r.Gen == first.Gen || r.Length != 120000 {
		t.Errorf("after %v came %v", first, r)
	}
	again.Release()
	if g := alloc(t, s, 1<<20); g.ID() == first.ID {
		t.Error("too small a segment was given out")
	} else {
		g.Release()
	}
	g = alloc(t, s, 10)
	if g.ID() != first.ID {
		t.Error("the largest segment was given out for the smallest payload")
	}
	g.Release()
	other.Release()
}

func TestMisuse(t *testing.T) {
	s := NewStore(0)
	defer s.Close()
	handed := alloc(t, s, 1)
	handed.Handover()
	twice := alloc(t, s, 1)
	twice.Retain()
	g := alloc(t, s, 1)
	g.Release()
	for name, f := range map[string]func(){
		"segment: Release": g.Release, "segment: Retain": g.Retain, "segment: Handover": twice.Handover,
		"segment: Release of": handed.Release, "segment: Done without Bytes": func() { NewTable().Done(Ref{}) },
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.HasPrefix(text, name) {
					t.Errorf("panic %q, want %q", text, name)
				}
			}()
			f()
		}()
	}
	twice.Release()
	twice.Release()
}

func TestKeep(t *testing.T) {
	var dropped []uint32
	s := NewStore(3 * (minClass + HeaderSize))
	s.OnDrop = func(id uint32) { dropped = append(dropped, id) }
	var all []*Segment
	for range 5 {
		all = append(all, alloc(t, s, minClass))
	}
	for _, g := range all {
		g.Release()
	}
	if !slices.Equal(dropped, []uint32{1, 2}) || s.Stats() != (Stats{Idle: 3, IdleBytes: s.keep}) {
		t.Errorf("dropped %v, %+v", dropped, s.Stats())
	}
	held, lent, back := alloc(t, s, 1), alloc(t, s, 1), alloc(t, s, 1)
	lent.Handover()
	s.Close()
	s.Close()
	held.Bytes()[0] = 1
	held.Release()
	lent.Reclaim()
	back.Handover()
	if slices.Sort(dropped); !slices.Equal(dropped, []uint32{1, 2, 3, 4, 5}) {
		t.Errorf("dropped %v", dropped)
	}
	if _, err := s.Alloc(1); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestAllocErrors(t *testing.T) {
	s := NewStore(0)
	defer s.Close()
	for _, n := range []int64{-1, math.MaxInt64} {
		if _, err := s.Alloc(n); err == nil {
			t.Errorf("%d bytes were allocated", n)
		}
	}
	if _, err := s.Alloc(math.MaxInt / 4); !errors.Is(err, unix.ENOMEM) {
		t.Error(err)
	}
}

func TestHandover(t *testing.T) {
	s, table := NewStore(1<<20), NewTable()
	defer s.Close()
	defer table.Close()
	g := alloc(t, s, 5)
	copy(g.Bytes(), "hello")
	r := g.Ref()
	if err := table.Add(g.ID(), dup(t, g.File())); err != nil {
		t.Fatal(err)
	}
	g.Handover()
	for range 2 {
		if b, err := table.Bytes(t.Context(), r); err != nil || string(b) != "hello" {
			t.Fatalf("%q, %v", b, err)
		}
	}
	table.Done(r)
	if s.Collect(); s.Stats().Handed != 1 {
		t.Error("taken back while in use")
	}
	table.Done(r)
	again := alloc(t, s, 6)
	if again.ID() != r.ID || s.Stats().Handed != 0 {
		t.Errorf("segment %d, %+v", again.ID(), s.Stats())
	}
	if _, err := table.Bytes(t.Context(), r); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "generation") {
		t.Errorf("an old reference: %v", err)
	}
	again.Handover()
	again.Reclaim()
	again.Reclaim()
	if got := s.Stats(); got.Idle != 1 || got.Handed != 0 {
		t.Errorf("%+v", got)
	}
}

func TestBytesErrors(t *testing.T) {
	s, table := NewStore(0), NewTable()
	defer s.Close()
	g := alloc(t, s, 10)
	defer g.Release()
	if err := table.Add(g.ID(), dup(t, g.File())); err != nil {
		t.Fatal(err)
	}
	good := g.Ref()
	size := uint64(minClass + HeaderSize)
	for _, r := range []Ref{
		{good.ID, good.Gen, 0, 10}, {good.ID, good.Gen, HeaderSize - 1, 10}, {good.ID, good.Gen, size, 1},
		{good.ID, good.Gen, HeaderSize, size - HeaderSize + 1}, {good.ID, good.Gen, HeaderSize, math.MaxUint64},
		{good.ID, good.Gen, math.MaxUint64, 2}, {good.ID, good.Gen + 1, HeaderSize, 10}, {good.ID, 0, HeaderSize, 10},
	} {
		if _, err := table.Bytes(t.Context(), r); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: %v", r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Bytes(ctx, Ref{ID: 99}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := table.Add(g.ID(), dup(t, g.File())); !errors.Is(err, ErrCorrupt) {
		t.Errorf("added twice: %v", err)
	}
	small, err := shm.Create("small", HeaderSize)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	if err := table.Add(50, dup(t, small.File())); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Add(51, null); !errors.Is(err, ErrCorrupt) || null.Close() == nil {
		t.Errorf("%v, and the descriptor is not closed", err)
	}
	table.Close()
	if err := table.Add(52, dup(t, g.File())); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := table.Bytes(t.Context(), good); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// The descriptor, the reference and the end of a segment come in any order.
func TestOrder(t *testing.T) {
	s, table := NewStore(0), NewTable()
	defer s.Close()
	g := alloc(t, s, 5)
	defer g.Release()
	copy(g.Bytes(), "hello")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b, err := table.Bytes(t.Context(), g.Ref())
			if err != nil || string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
				return
			}
			table.Done(g.Ref())
		})
	}
	if err := table.Add(g.ID(), dup(t, g.File())); err != nil {
		t.Fatal(err)
	}
	wg.Wait()

	b, err := table.Bytes(t.Context(), g.Ref())
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Drop(g.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Bytes(t.Context(), g.Ref()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("dropped: %v", err)
	}
	if string(b) != "hello" { // still mapped
		t.Errorf("%q", b)
	}
	table.Done(g.Ref())
	if len(table.maps) != 0 {
		t.Error("still mapped after the last Done")
	}

	wg.Go(func() {
		if _, err := table.Bytes(t.Context(), Ref{ID: 7}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("dropped before it was added: %v", err)
		}
	})
	if err := table.Drop(7); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := table.Add(7, dup(t, g.File())); err != nil || len(table.maps)+len(table.dropped) != 0 {
		t.Errorf("%v, %d maps, %d dropped", err, len(table.maps), len(table.dropped))
	}
	for id := range uint32(maxDropped) {
		if err := table.Drop(100 + id); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Drop(9); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	wg.Go(func() {
		if _, err := table.Bytes(t.Context(), Ref{ID: 8}); !errors.Is(err, ErrClosed) {
			t.Errorf("closed while it waited: %v", err)
		}
	})
	table.Close()
	wg.Wait()
}

func TestCloseInUse(t *testing.T) {
	s, table := NewStore(0), NewTable()
	g := alloc(t, s, 5)
	copy(g.Bytes(), "hello")
	r := g.Ref()
	if err := table.Add(g.ID(), dup(t, g.File())); err != nil {
		t.Fatal(err)
	}
	b, err := table.Bytes(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	table.Close()
	g.Release()
	s.Close()
	if string(b) != "hello" {
		t.Errorf("%q", b)
	}
	table.Done(r)
	if len(table.maps) != 0 {
		t.Error("still mapped after the last Done")
	}
}

// Many goroutines, one table: each sees its own payload.
func TestConcurrent(t *testing.T) {
	s, table := NewStore(4<<20), NewTable()
	s.OnDrop = func(id uint32) {
		if err := table.Drop(id); err != nil {
			t.Error(err)
		}
	}
	var known sync.Map
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 200 {
				g, err := s.Alloc(1 + rnd.Int64N(1<<20))
				if err != nil {
					t.Error(err)
					return
				}
				r := g.Ref()
				if _, loaded := known.LoadOrStore(r.ID, true); !loaded {
					if err := table.Add(r.ID, dup(t, g.File())); err != nil {
						t.Error(err)
						return
					}
				}
				head := g.Bytes()[:min(100, r.Length)]
				for j := range head {
					head[j] = byte(i)
				}
				if g.Handover(); rnd.IntN(10) == 0 {
					g.Reclaim()
					continue
				}
				b, err := table.Bytes(t.Context(), r)
				if err != nil || uint64(len(b)) != r.Length || bytes.Count(b[:len(head)], []byte{byte(i)}) != len(head) {
					t.Errorf("%d: %d bytes, %v", i, len(b), err)
					return
				}
				table.Done(r)
			}
		})
	}
	wg.Wait()
	s.Close()
	if len(table.maps) != 0 {
		t.Errorf("%d segments are still mapped", len(table.maps))
	}
	table.Close()
}

func TestLarge(t *testing.T) {
	s, table := NewStore(0), NewTable()
	defer s.Close()
	defer table.Close()
	const n = 1<<30 + 12345
	g, err := s.Alloc(n)
	if errors.Is(err, unix.ENOMEM) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	g.Bytes()[n-1] = 1
	copy(g.Bytes()[n/2:], "in the middle")
	if err := table.Add(g.ID(), dup(t, g.File())); err != nil {
		t.Fatal(err)
	}
	b, err := table.Bytes(t.Context(), g.Ref())
	if err != nil || len(b) != n || b[n-1] != 1 || string(b[n/2:n/2+13]) != "in the middle" {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if crc32.ChecksumIEEE(b[:1<<20]) != crc32.ChecksumIEEE(make([]byte, 1<<20)) {
		t.Error("new memory is not zero")
	}
	table.Done(g.Ref())
	g.Release()
}

// BenchmarkMiB writes 1 MiB and reads it on the other side.
func BenchmarkMiB(b *testing.B) {
	for _, fresh := range []bool{false, true} {
		b.Run(fmt.Sprintf("fresh=%v", fresh), func(b *testing.B) {
			s, table := NewStore(8<<20), NewTable()
			if fresh {
				s.keep = 0
			}
			s.OnDrop = func(id uint32) { _ = table.Drop(id) }
			payload := make([]byte, 1<<20)
			known := make(map[uint32]bool)
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				g, err := s.Alloc(int64(len(payload)))
				if err != nil {
					b.Fatal(err)
				}
				copy(g.Bytes(), payload)
				if !known[g.ID()] {
					known[g.ID()] = true
					fd, _ := unix.FcntlInt(g.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
					if err := table.Add(g.ID(), os.NewFile(uintptr(fd), "")); err != nil {
						b.Fatal(err)
					}
				}
				got, err := table.Bytes(b.Context(), g.Ref())
				if err != nil {
					b.Fatal(err)
				}
				copy(payload, got)
				table.Done(g.Ref())
				g.Release()
			}
			s.Close()
			table.Close()
		})
	}
}
