package shm

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// fixed are the seals without which a peer could pull the memory from under us.
const fixed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// step is how much is allocated at a time. A signal makes the kernel give back what
// the interrupted call had allocated: in one call, 1 GiB under a profiler's signals
// might never be done.
const step = 16 << 20

// Memory is a memfd and its mapping. Everything but Close may be used from any
// goroutine; what was got from a Memory must not be touched after Close.
type Memory struct {
	data []byte // nil when closed

	mu   sync.Mutex // guards what follows, and the end of data
	file *os.File   // nil when closed
}

// Create makes size bytes of zeros. The name is for /proc/PID/maps alone. The
// error matches ENOMEM or ENOSPC when the memory can't be had.
func Create(name string, size int) (*Memory, error) {
	if size <= 0 {
		return nil, fmt.Errorf("shm: create %s: invalid size %d", name, size)
	}
	if err := available(size); err != nil {
		return nil, fmt.Errorf("shm: create %s of %d bytes: %w", name, size, err)
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("shm: create %s: memfd_create: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), "memfd:"+name)
	if err := allocate(fd, int64(size)); err != nil {
		file.Close()
		return nil, fmt.Errorf("shm: create %s: allocate %d bytes: %w", name, size, err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, fixed|unix.F_SEAL_SEAL); err != nil {
		file.Close()
		return nil, fmt.Errorf("shm: create %s: seal: %w", name, err)
	}
	m, err := mapFile(file, size)
	if err != nil {
		file.Close()
		return nil, err
	}
	// All pages are entered into the page table at once: at the first touch of each,
	// it takes twice as long. Before Linux 5.14 it is at the first touch.
	_ = unix.Madvise(m.data, unix.MADV_POPULATE_WRITE)
	return m, nil
}

// Open maps a descriptor that a peer passed. It must be a memfd of a fixed size.
// The Memory owns f from then on; after an error the caller still does.
func Open(f *os.File) (*Memory, error) {
	fd := f.Fd()
	seals, err := unix.FcntlInt(fd, unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("shm: open %s: no memfd: %w", f.Name(), err)
	}
	if seals&fixed != fixed {
		return nil, fmt.Errorf("shm: open %s: its size is not sealed", f.Name())
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil {
		return nil, fmt.Errorf("shm: open %s: fstat: %w", f.Name(), err)
	}
	if st.Size <= 0 || st.Size > math.MaxInt {
		return nil, fmt.Errorf("shm: open %s: invalid size %d", f.Name(), st.Size)
	}
	return mapFile(f, int(st.Size))
}

func mapFile(f *os.File, size int) (*Memory, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("shm: map %d bytes of %s: %w", size, f.Name(), err)
	}
	return &Memory{data: data, file: f}, nil
}

// allocate gives a file storage, and with it its size.
func allocate(fd int, size int64) error { return allocateFrom(fd, 0, size) }

// allocateFrom gives a file storage between two offsets, and at least that size.
func allocateFrom(fd int, off, end int64) error {
	for off < end {
		n := min(step, end-off)
		switch err := unix.Fallocate(fd, 0, off, n); {
		case err == nil:
			off += n
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return nil
}

// Bytes is the whole of the memory.
func (m *Memory) Bytes() []byte {
	if m.data == nil {
		panic("shm: Bytes of a closed Memory")
	}
	return m.data
}

// Len is the size in bytes, 0 after Close.
func (m *Memory) Len() int { return len(m.data) }

// check panics unless a word of size bytes may be at off. Offsets that a peer
// gave must have been checked before: a bad one here is our own mistake.
func (m *Memory) check(off, size int) {
	if off < 0 || off > len(m.data)-size || off%size != 0 {
		m.refuse(off, size)
	}
}

// refuse is apart from check to let check be inlined.
func (m *Memory) refuse(off, size int) {
	if m.data == nil {
		panic("shm: word of a closed Memory")
	}
	panic(fmt.Sprintf("shm: no word of %d bytes at offset %d of %d", size, off, len(m.data)))
}

// File is the descriptor, for passing it to another process. The Memory keeps
// it; nil after CloseFile.
func (m *Memory) File() *os.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.file
}

// CloseFile closes the descriptor and keeps the mapping.
func (m *Memory) CloseFile() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	err := m.file.Close()
	m.file = nil
	return err
}

// Close unmaps the memory and closes the descriptor. A second Close does nothing.
func (m *Memory) Close() error {
	err := m.CloseFile()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.data == nil {
		return err
	}
	data := m.data
	m.data = nil
	if uerr := unix.Munmap(data); uerr != nil {
		return fmt.Errorf("shm: unmap: %w", uerr)
	}
	return err
}
