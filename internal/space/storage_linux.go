package space

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/shm"
)

// storage is a space's file, mapped: words, and how they are given away.
type storage struct {
	path string
	file *shm.File    // asked for size and locks, and grown; it never holds a slot's byte
	mem  *shm.Window  // MaxSize long
	size atomic.Int64 // of the file, as the kernel said last; it never shrinks

	readOnly bool        // mem must not be written
	blanked  atomic.Bool // or is about to be
}

// newStorage maps a file, which it owns from then on. The addresses are given back when
// nothing refers to the storage any more, because words of it are pointers that
// anybody may still use after Close.
func newStorage(path string, file *shm.File, write bool) (*storage, error) {
	mem, err := file.Map(MaxSize, write)
	if err != nil {
		return nil, fmt.Errorf("space: %s: %w", path, err)
	}
	s := &storage{path: path, file: file, mem: mem, readOnly: !write}
	runtime.AddCleanup(s, func(mem *shm.Window) { _ = mem.Release() }, mem)
	return s, nil
}

// blank puts zeros in the file's place, so that who still uses words touches nothing of
// the space, and faults nowhere.
func (s *storage) blank() error {
	s.blanked.Store(true)
	return s.mem.Blank()
}

// word is the word at an offset within the file's size.
func (s *storage) word(off int) *atomic.Uint64 { return s.mem.Uint64(off) }

// has reports whether the file has as many bytes. It asks the kernel when the
// answer of last time does not do.
func (s *storage) has(end int64) bool {
	if end <= s.size.Load() {
		return true
	}
	if st, err := s.file.Stat(); err == nil {
		s.enlarge(st.Size)
	}
	return end <= s.size.Load()
}

// enlarge takes up a size that the kernel gave. Of two, the larger one counts.
func (s *storage) enlarge(size int64) {
	for old := s.size.Load(); old < size && !s.size.CompareAndSwap(old, size); old = s.size.Load() {
	}
}

// unit is the offset of a unit that was given away; false if there is no such unit.
func (s *storage) unit(index uint64) (off int, ok bool) {
	if index < firstUnit || index >= endUnit || index >= s.word(nextAt).Load() {
		return 0, false
	}
	off = int(index) * unitSize
	return off, s.has(int64(off) + unitSize)
}

// claim gives a unit away.
func (s *storage) claim() (index uint64, off int, err error) { return s.claimRun(1) }

// claimRun gives units in a row away. It allocates storage first, so that a lack of it costs
// none.
func (s *storage) claimRun(units uint64) (index uint64, off int, err error) {
	if s.readOnly {
		return 0, 0, fmt.Errorf("space: %s: a view makes nothing: %w", s.path, errors.ErrUnsupported)
	}
	next := s.word(nextAt)
	for {
		index = next.Load()
		switch {
		case s.blanked.Load(): // and next may be 0
			return 0, 0, cell.ErrClosed
		case index < firstUnit || index > endUnit:
			return 0, 0, fmt.Errorf("space: %s: next unit is %d: %w", s.path, index, ErrCorrupt)
		case index > endUnit-units:
			return 0, 0, fmt.Errorf("space: %s: %d MiB for objects and what they hold is the limit: %w", s.path, MaxSize>>20, ErrFull)
		}
		off = int(index) * unitSize
		if !s.has(int64(off)) { // nobody gives a unit away without storage
			return 0, 0, fmt.Errorf("space: %s: next unit is %d, beyond the file's end: %w", s.path, index, ErrCorrupt)
		}
		if err := s.ensure(int64(off) + int64(units)*unitSize); err != nil {
			return 0, 0, err
		}
		if next.CompareAndSwap(index, index+units) {
			return index, off, nil
		}
	}
}

// ensure makes the file at least end bytes long.
func (s *storage) ensure(end int64) error {
	if s.has(end) {
		return nil
	}
	var err error
	for _, step := range []int64{growth, pageSize} {
		size := min((end+step-1)/step*step, MaxSize)
		if err = s.file.Grow(s.size.Load(), size); err == nil {
			s.enlarge(size)
			return nil
		}
		if !errors.Is(err, unix.ENOSPC) {
			break
		}
	}
	if errors.Is(err, os.ErrClosed) {
		return cell.ErrClosed
	}
	return fmt.Errorf("space: %s: no storage for more than %d bytes: %w", s.path, s.size.Load(), err)
}

// Annex gives away memory for some bytes, which are 0 at first, and returns the first of the units that
// it lies in. It belongs to nobody until a word names it.
func (s *storage) Annex(bytes int) (index uint64, err error) {
	if bytes < 1 || bytes > MaxAnnex {
		return 0, fmt.Errorf("space: an annex of %d bytes: 1 to %d can be had", bytes, MaxAnnex)
	}
	index, _, err = s.claimRun(uint64(bytes+unitSize-1) / unitSize)
	return index, err
}

// AnnexBytes is the memory of n bytes that begins with a unit. Both may be made up by a peer: false
// if so many bytes were never given away. Peers may change what is there while it is read.
func (s *storage) AnnexBytes(index uint64, n int) ([]byte, bool) {
	if n < 1 || n > MaxAnnex {
		return nil, false
	}
	off, ok := s.unit(index)
	if !ok {
		return nil, false
	}
	if _, ok = s.unit(index + uint64(n-1)/unitSize); !ok {
		return nil, false
	}
	return s.mem.Bytes(off, n), true
}

// extent is the extent at a unit's offset.
func (s *storage) extent(index uint64, off int) cell.Extent {
	return cell.Extent{Index: index, At: func(i int) cell.Word {
		if i < 0 || i >= cell.ExtentWords {
			panic(fmt.Sprintf("space: no word %d in an extent of %d", i, cell.ExtentWords))
		}
		return cell.At(s.word(off + 8*i))
	}}
}

// Extend implements cell.Extender.
func (s *storage) Extend() (cell.Extent, error) {
	index, off, err := s.claim()
	if err != nil {
		return cell.Extent{}, err
	}
	return s.extent(index, off), nil
}

// Extent implements cell.Extender.
func (s *storage) Extent(index uint64) (cell.Extent, bool) {
	off, ok := s.unit(index)
	if !ok {
		return cell.Extent{}, false
	}
	return s.extent(index, off), true
}
