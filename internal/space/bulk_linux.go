package space

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/shm"
)

// bulkSuffix ends the name of a bulk file. As suffix, no version ever changes it.
const bulkSuffix = ".bulk"

const (
	// bulkShift makes of a unit's index the beginning of its range in the bulk file.
	bulkShift = 36
	// bulkByte is locked, shared, by who has a bulk file open, and alone by who is about to sweep it.
	bulkByte int64 = 0
	// bulkPart is how much is written or read in one call of the kernel. While it writes, it
	// keeps all other writers of the file waiting, and Close waits for it.
	bulkPart = 1 << 20
	// bulkTrust is what is read without asking whether it is there: to have reserved so
	// much for a peer's lie does no harm, and asking would cost a second call.
	bulkTrust = 64 << 10
)

// The largest one fits into a unit's range.
const _ = uint64(1<<bulkShift - MaxBulk)

// bulkName is what the name of a bulk file says: to which space it belongs, and to which file
// of that name, because a space that was removed by force goes on while another one
// has its name.
type bulkName struct {
	space string
	inode uint64
}

// file is the name in the directory.
func (b bulkName) file() string {
	return b.space + "." + strconv.FormatUint(b.inode, 16) + bulkSuffix
}

// parseBulk is the reverse of file.
func parseBulk(file string) (b bulkName, ok bool) {
	rest, ok := strings.CutSuffix(file, bulkSuffix)
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 0 || CheckName(rest[:dot]) != nil {
		return b, false
	}
	inode, err := strconv.ParseUint(rest[dot+1:], 16, 64)
	b = bulkName{rest[:dot], inode}
	return b, err == nil && b.file() == file
}

// bulk is a bulk file that this process has open.
type bulk struct {
	*shm.File
	shift int // bulkShift, or less where the file system has no room for all ranges
}

// openBulk opens the bulk file that belongs to a space's file, which the caller has open, and
// whose gate it holds. Only the first participant creates it. So all have the same one,
// whatever happens to the names meanwhile: who comes later finds that file, or none.
func (d *directory) openBulk(name string, space *shm.File, inode uint64, create bool) (*bulk, error) {
	file, flags := bulkName{name, inode}.file(), unix.O_RDWR
	if create {
		flags |= unix.O_CREAT
	}
	for {
		f, st, err := d.openFile(file, flags)
		if errors.Is(err, unix.ENOENT) {
			if !d.names(name, space) {
				return nil, errAgain // removed by force: the space's name goes first
			}
			return nil, &FormatError{d.pathOf(name), name, "no file " + file, "that file beside it"}
		}
		if err != nil {
			return nil, err
		}
		b := &bulk{f, bulkShift}
		if err = f.Share(bulkByte); err != nil {
			err = fmt.Errorf("space: lock %s in %s: %w", file, d.path, err)
		} else if !d.means(file, f) {
			// A sweep took it for one of a space that has ended, of which the inode number
			// is used again.
			if b.close(); d.names(name, space) {
				continue
			}
			return nil, errAgain
		} else if err = b.fit(); err == nil && create && st.Size > 0 {
			err = f.Punch(0, st.Size) // what such a space has left
		}
		if err != nil {
			b.close()
			return nil, err
		}
		return b, nil
	}
}

// fit looks how long a file may be here. All participants find the same.
func (b *bulk) fit() error {
	for b.shift = bulkShift; b.shift > 0; b.shift-- {
		if ok, err := b.Reaches(endUnit << b.shift); ok || err != nil {
			return err
		}
	}
	return nil
}

// close waits for the reads and writes that are under way. After it there are none.
func (b *bulk) close() error { return errors.Join(b.Unlock(bulkByte), b.Close()) }

// unlinkBulk removes the name of a bulk file, if it is there.
func (d *directory) unlinkBulk(b bulkName) error {
	if err := unix.Unlinkat(d.fd, b.file(), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("space: remove %s in %s: %w", b.file(), d.path, err)
	}
	return nil
}

// bound reports whether the space to which a bulk file belongs has a name. If the kernel
// can't say, it has.
func (d *directory) bound(b bulkName) bool {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, b.space+suffix, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Ino == b.inode || err != nil && !errors.Is(err, unix.ENOENT)
}

// sweepBulk removes a bulk file whose space has no name and no participants: somebody was
// killed between the removals of the two names. That the space is without a name is
// seen while the file is locked. Whoever creates a space afterwards, with an inode number that is
// used again, waits for the lock and finds the name gone.
func (d *directory) sweepBulk(b bulkName) {
	if d.bound(b) {
		return
	}
	f, _, err := d.openFile(b.file(), unix.O_RDWR)
	if err != nil {
		return
	}
	if ok, err := f.TryLock(bulkByte); ok && err == nil {
		if d.means(b.file(), f) && !d.bound(b) {
			_ = d.unlinkBulk(b)
		}
		_ = f.Unlock(bulkByte)
	}
	f.Close()
}

// BulkRoom is how many bytes a unit's bulk may have: MaxBulk, or less where the file system knows
// no files that are large enough (8 MiB on ext4).
func (f *File) BulkRoom() int64 { return min(MaxBulk, 1<<f.bulk.shift) }

// bulkAt is where a unit's range begins in the bulk file.
func (f *File) bulkAt(unit uint64) (int64, error) {
	if f.closed.Load() {
		return 0, cell.ErrClosed
	}
	if unit < firstUnit || unit >= endUnit {
		return 0, fmt.Errorf("space: %s: bulk of unit %d, which can't be: %w", f.path, unit, ErrCorrupt)
	}
	return int64(unit) << f.bulk.shift, nil
}

// bulkError says what was to be done.
func (f *File) bulkError(what string, n int64, err error) error {
	if errors.Is(err, os.ErrClosed) {
		return cell.ErrClosed
	}
	return fmt.Errorf("space: %s: %s %d bytes of bulk: %w", f.path, what, n, err)
}

// WriteBulk writes b at the beginning of a unit's range; what was there beyond it stays.
// The range is that of the caller alone: the algorithm says whose it is. The error matches
// ENOSPC when there is no storage, EFBIG when b is longer than BulkRoom or than the process may
// write (ulimit -f), and then the range is empty. After Close it is cell.ErrClosed.
func (f *File) WriteBulk(unit uint64, b []byte) error {
	at, err := f.bulkAt(unit)
	if err != nil {
		return err
	}
	if room := f.BulkRoom(); int64(len(b)) > room {
		return fmt.Errorf("space: %s: %d bytes at once, at most %d are possible here: %w", f.path, len(b), room, unix.EFBIG)
	}
	for n := 0; n < len(b); n += bulkPart {
		if err := f.bulk.WriteAt(b[n:min(n+bulkPart, len(b))], at+int64(n)); err != nil {
			// Half of it is of no use to anybody, and what there is of storage is needed.
			_ = f.bulk.Punch(at, 1<<f.bulk.shift)
			return f.bulkError("write", int64(len(b)), err)
		}
	}
	return nil
}

// ReadBulk reads the first n bytes of a unit's range, into the room of into if that is
// enough (its length does not matter), otherwise into a new slice. Unit and n may come from a
// peer: nothing larger than 64 KiB is made unless the kernel says that all of it has
// storage, otherwise the error matches ErrCorrupt. What is smaller and was never written
// is zeros, or ErrCorrupt; the bytes are a peer's in any case. After Close the error is
// cell.ErrClosed.
func (f *File) ReadBulk(unit uint64, n int64, into []byte) ([]byte, error) {
	at, err := f.bulkAt(unit)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > f.BulkRoom() || n > math.MaxInt {
		return nil, fmt.Errorf("space: %s: %d bytes of bulk, at most %d can be: %w", f.path, n, f.BulkRoom(), ErrCorrupt)
	}
	if n > bulkTrust {
		ok, err := f.bulk.Allocated(at, n)
		if err != nil {
			return nil, f.bulkError("look for", n, err)
		}
		if !ok {
			return nil, f.bulkError("look for", n, ErrCorrupt)
		}
	}
	if int64(cap(into)) < n || into == nil {
		into = make([]byte, n)
	}
	into = into[:n]
	for done := 0; done < len(into); {
		part := into[done:min(done+bulkPart, len(into))]
		got, err := f.bulk.ReadAt(part, at+int64(done))
		if err == nil && got < len(part) {
			err = ErrCorrupt
		}
		if err != nil {
			return nil, f.bulkError("read", n, err)
		}
		done += got
	}
	return into, nil
}

// TrimBulk gives the storage of a unit's range back.
func (f *File) TrimBulk(unit uint64) error {
	at, err := f.bulkAt(unit)
	if err != nil {
		return err
	}
	size := int64(1) << f.bulk.shift
	if err := f.bulk.Punch(at, size); err != nil {
		return f.bulkError("give back", size, err)
	}
	return nil
}
