package shm

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// File is a descriptor of a file with a name: a tmpfs file that processes find by its
// path. Its locks are open-file-description locks: they belong to this one opening, so
// that closing another descriptor of the same file loses none (the older POSIX
// locks would go), they exclude other openings of the same process as well, and the kernel
// drops them when the last duplicate of the descriptor is closed, at the latest at
// the process's death.
//
// The descriptor is a number and not an os.File, so that no garbage collection can close
// it. All methods may be used from any goroutine; after Close they return os.ErrClosed.
type File struct {
	mu sync.RWMutex // held for reading while fd is in use: its number is not used again meanwhile
	fd int          // -1 when closed
}

// OpenAt opens a file in a directory given by its descriptor. The flags O_CLOEXEC,
// O_NOFOLLOW, O_NONBLOCK and O_NOCTTY are always set: what is no regular file is found
// out without waiting for it.
func OpenAt(dir int, name string, flags int) (*File, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0o600)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &File{fd: fd}, nil
	}
}

// use calls f with the descriptor, again after a signal.
func (f *File) use(call func(fd int) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return os.ErrClosed
	}
	for {
		if err := call(f.fd); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Stat is what the kernel says of the file.
func (f *File) Stat() (st unix.Stat_t, err error) {
	err = f.use(func(fd int) error { return unix.Fstat(fd, &st) })
	return st, err
}

// ReadAt reads len(b) bytes, or fewer at the file's end: in one call of the kernel
// unless a signal cuts that short. Holes read as zeros.
func (f *File) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.use(func(fd int) error {
		for n < len(b) {
			got, err := unix.Pread(fd, b[n:], off+int64(n))
			if err != nil {
				return err
			}
			if got == 0 {
				break
			}
			n += got
		}
		return nil
	})
	return n, err
}

// WriteAt writes all of b, in one call of the kernel unless a signal cuts that short, or
// the storage ends: then the next call says so. The error matches ENOSPC when there is no
// storage, and EFBIG beyond the limit of the file system or of the process (Go ignores SIGXFSZ).
// Some of b may have been written.
func (f *File) WriteAt(b []byte, off int64) error {
	return f.use(func(fd int) error {
		for len(b) > 0 {
			n, err := unix.Pwrite(fd, b, off)
			if err != nil {
				return err
			}
			if n == 0 {
				return unix.ENOSPC // the kernel knows no other reason, and must not be asked for ever
			}
			b, off = b[n:], off+int64(n)
		}
		return nil
	})
}

// Allocated reports whether all of n bytes have storage, so that nobody reserves memory for
// what is not there. The kernel looks at each page; what was allocated and never
// written counts as a hole.
func (f *File) Allocated(off, n int64) (ok bool, err error) {
	err = f.use(func(fd int) error {
		// This moves the descriptor's own position, which nothing here uses.
		hole, err := unix.Seek(fd, off, unix.SEEK_HOLE)
		if errors.Is(err, unix.ENXIO) { // beyond the end
			return nil
		}
		ok = err == nil && hole >= off+n
		return err
	})
	return ok, err
}

// Reaches reports whether a file may be so large on this file system.
func (f *File) Reaches(size int64) (ok bool, err error) {
	err = f.use(func(fd int) error { _, err := unix.Seek(fd, size, unix.SEEK_SET); return err })
	if errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return err == nil, err
}

// Punch gives the storage of n bytes back: they are a hole. The size stays.
func (f *File) Punch(off, n int64) error {
	return f.use(func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// Grow gives the file storage from one offset to another, and with it at least that
// size. Several may grow it at once. The error matches ENOSPC when the storage can't be had.
func (f *File) Grow(from, to int64) error {
	return f.use(func(fd int) error { return allocateFrom(fd, from, to) })
}

// lock is a lock of n bytes.
func lock(typ int16, off, n int64) *unix.Flock_t {
	return &unix.Flock_t{Type: typ, Whence: unix.SEEK_SET, Start: off, Len: n}
}

// Lock locks a byte, and waits for it. The byte may lie far beyond the file's end.
func (f *File) Lock(off int64) error {
	return f.use(func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, lock(unix.F_WRLCK, off, 1)) })
}

// TryLock locks a byte unless it is locked or shared.
func (f *File) TryLock(off int64) (ok bool, err error) {
	err = f.use(func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, lock(unix.F_WRLCK, off, 1)) })
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

// Share locks a byte together with others who share it, and waits for one who has it alone.
func (f *File) Share(off int64) error {
	return f.use(func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, lock(unix.F_RDLCK, off, 1)) })
}

// Unlock unlocks a byte, also for a child that has just been forked and holds a
// duplicate of the descriptor.
func (f *File) Unlock(off int64) error {
	return f.use(func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, lock(unix.F_UNLCK, off, 1)) })
}

// Locked asks for one of the locks of other openings on the n bytes at off, and returns
// which of these bytes it covers: from start to end.
func (f *File) Locked(off, n int64) (start, end int64, ok bool, err error) {
	l := lock(unix.F_WRLCK, off, n)
	err = f.use(func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, l) })
	if err != nil || l.Type == unix.F_UNLCK {
		return 0, 0, false, err
	}
	start, end = max(off, l.Start), off+n
	if l.Len > 0 { // otherwise to the end of all files
		end = min(end, l.Start+l.Len)
	}
	return start, max(start+1, end), true, nil
}

// Close closes the descriptor. The caller unlocks before: a child that is being forked may
// hold a duplicate. A second Close does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return nil
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return err
}

// Closed reports whether Close was called.
func (f *File) Closed() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.fd < 0
}

// Window is a mapping of a file's first bytes, which may be longer than the file is now.
// What lies beyond the file's end must not be touched: the kernel's answer is SIGBUS.
type Window struct {
	data []byte // its length and address stay
	mu   sync.Mutex
	open bool // until Release
}

// Map maps the first size bytes, to read and perhaps to write.
func (f *File) Map(size int, write bool) (*Window, error) {
	prot := unix.PROT_READ
	if write {
		prot |= unix.PROT_WRITE
	}
	var data []byte
	err := f.use(func(fd int) (err error) {
		data, err = unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED|unix.MAP_NORESERVE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("shm: map %d bytes: %w", size, err)
	}
	return &Window{data: data, open: true}, nil
}

// Uint64 is the word at an offset, which must be a multiple of 8 within the window
// and within the file. It is not checked against the file's size.
func (w *Window) Uint64(off int) *atomic.Uint64 {
	if off < 0 || off > len(w.data)-8 || off%8 != 0 {
		panic(fmt.Sprintf("shm: no word at offset %d of a window of %d bytes", off, len(w.data)))
	}
	return w.word(off)
}

// Bytes is n bytes at an offset within the window and within the file. It is not checked against
// the file's size.
func (w *Window) Bytes(off, n int) []byte {
	if off < 0 || n < 0 || off > len(w.data)-n {
		panic(fmt.Sprintf("shm: no %d bytes at offset %d of a window of %d bytes", n, off, len(w.data)))
	}
	return w.bytes(off, n)
}

// Blank puts zeros of this process's own in the file's place, at the same addresses. Who
// still reads and writes there does no harm, and every offset may be touched.
func (w *Window) Blank() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open {
		return nil
	}
	return w.blank()
}

// Release gives the addresses back. Nobody may have a pointer into the window any more.
func (w *Window) Release() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.open {
		return nil
	}
	w.open = false
	err := unix.Munmap(w.data)
	runtime.KeepAlive(w)
	return err
}
