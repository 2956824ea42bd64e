package shm

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCreate(t *testing.T) {
	m, err := Create("test", 5000)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Len() != 5000 || len(m.Bytes()) != 5000 {
		t.Errorf("Len is %d, Bytes has %d, want 5000", m.Len(), len(m.Bytes()))
	}
	if err := unix.Ftruncate(int(m.File().Fd()), 10); !errors.Is(err, unix.EPERM) {
		t.Errorf("shrinking: %v, want EPERM", err)
	}
	if err := unix.Ftruncate(int(m.File().Fd()), 10000); !errors.Is(err, unix.EPERM) {
		t.Errorf("growing: %v, want EPERM", err)
	}
	flags, err := unix.FcntlInt(m.File().Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor is not closed on exec: %x, %v", flags, err)
	}

	fd, err := unix.Dup(int(m.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	peer, err := Open(os.NewFile(uintptr(fd), "peer"))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if err := m.CloseFile(); err != nil || m.File() != nil {
		t.Errorf("CloseFile: %v, then File %v", err, m.File())
	}
	m.Uint32(4996).Store(1 << 31)
	m.Uint64(8).Store(1 << 63)
	if peer.Len() != 5000 || peer.Uint32(4996).Load() != 1<<31 || peer.Uint64(8).Load() != 1<<63 {
		t.Error("the peer does not see the stores")
	}
}

func TestClose(t *testing.T) {
	m, err := Create("test", 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	wantPanic(t, "shm: Bytes of a closed Memory", func() { m.Bytes() })
	wantPanic(t, "shm: word of a closed Memory", func() { m.Uint32(0) })
}

func TestWords(t *testing.T) {
	m, err := Create("test", 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Uint32(4092)
	m.Uint64(4088)
	for _, off := range []int{-4, 1, 2, 4093, 4096, math.MaxInt, math.MinInt} {
		wantPanic(t, "shm: no word of 4 bytes", func() { m.Uint32(off) })
	}
	for _, off := range []int{-8, 4, 4092, 4096} {
		wantPanic(t, "shm: no word of 8 bytes", func() { m.Uint64(off) })
	}
}

func wantPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if s, _ := recover().(string); !strings.HasPrefix(s, text) {
			t.Errorf("panic %q, want %q", s, text)
		}
	}()
	f()
}

func TestCreateErrors(t *testing.T) {
	for _, size := range []int{0, -1} {
		if m, err := Create("test", size); err == nil {
			m.Close()
			t.Errorf("%d bytes were created", size)
		}
	}
	if m, err := Create("test", math.MaxInt/2+1); err == nil {
		m.Close()
		t.Error("half of all addresses was created")
	} else if !errors.Is(err, unix.ENOMEM) {
		t.Error(err)
	}
}

// What a peer passes may be anything.
func TestOpenErrors(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	sealed := func(seals int, size int64) *os.File {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "memfd")
		t.Cleanup(func() { f.Close() })
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return f
	}
	for name, f := range map[string]*os.File{
		"file": file, "pipe": r, "unsealed": sealed(0, 4096), "may shrink": sealed(unix.F_SEAL_GROW, 4096),
		"empty": sealed(fixed, 0), "not writable": sealed(fixed|unix.F_SEAL_WRITE, 4096),
	} {
		if m, err := Open(f); err == nil {
			m.Close()
			t.Errorf("%s was opened", name)
		} else if !strings.HasPrefix(err.Error(), "shm: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLarge(t *testing.T) {
	const size = 1<<30 + 1
	if err := available(size); err != nil {
		t.Skipf("not enough memory: %v", err)
	}
	m, err := Create("test", size)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Bytes()[size-1] = 1
	m.Uint32(1<<30 - 4).Store(5)
}

func BenchmarkCreate(b *testing.B) {
	for b.Loop() {
		m, err := Create("bench", 256<<10)
		if err != nil {
			b.Fatal(err)
		}
		m.Close()
	}
}
