package shm

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// openFile opens a file of a name twice or more often.
func openFile(t *testing.T, dir string) *File {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := OpenAt(int(d.Fd()), "file", unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Locks belong to one opening: others see them, also in this process, and no end of
// another descriptor takes them away.
func TestLocks(t *testing.T) {
	dir := t.TempDir()
	a, b := openFile(t, dir), openFile(t, dir)
	const far = 1 << 40
	if ok, err := a.TryLock(far + 5); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := a.Lock(far + 6); err != nil {
		t.Fatal(err)
	}
	openFile(t, dir).Close()
	runtime.GC()
	if ok, err := b.TryLock(far + 5); ok || err != nil {
		t.Errorf("a locked byte was locked again: %v", err)
	}
	if start, end, ok, err := b.Locked(far, 100); start != far+5 || end != far+7 || !ok || err != nil {
		t.Errorf("locked from %d to %d, %v, %v", start-far, end-far, ok, err)
	}
	if start, end, ok, err := b.Locked(far+6, 1); start != far+6 || end != far+7 || !ok || err != nil {
		t.Errorf("locked from %d to %d, %v, %v", start-far, end-far, ok, err)
	}
	if _, _, ok, err := a.Locked(far, 100); ok || err != nil {
		t.Errorf("an opening sees its own lock: %v, %v", ok, err)
	}
	// A duplicate, as a child has it, keeps a lock until it is unlocked.
	dup, err := unix.Dup(a.fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	if err := errors.Join(a.Unlock(far+5), a.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	if start, _, ok, _ := b.Locked(far, 100); !ok || start != far+6 {
		t.Error("the duplicate keeps the wrong lock")
	}
	if _, err := a.TryLock(far); !errors.Is(err, os.ErrClosed) || !a.Closed() || b.Closed() {
		t.Errorf("lock of a closed file: %v", err)
	}
}

func TestWindow(t *testing.T) {
	dir := t.TempDir()
	a, b := openFile(t, dir), openFile(t, dir)
	const size = 1 << 20
	v, err := a.Map(size, true)
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.Map(size, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Grow(0, 4096), a.Grow(4096, 8192), a.WriteAt([]byte{9}, 4096)); err != nil {
		t.Fatal(err)
	}
	if st, err := b.Stat(); st.Size != 8192 || err != nil {
		t.Errorf("the size is %d, %v", st.Size, err)
	}
	var text [2]byte
	if n, err := b.ReadAt(text[:], 8191); n != 1 || err != nil {
		t.Errorf("read %d bytes at the end, %v", n, err)
	}
	v.Uint64(8184).Store(7)
	if w.Uint64(8184).Load() != 7 || w.Uint64(4096).Load() == 0 {
		t.Error("one window does not see what the other one writes")
	}
	for _, off := range []int{-8, 4, size, size - 4} {
		wantPanic(t, "shm: no word", func() { v.Uint64(off) })
	}
	// Beyond the file's end there is nothing, and then there are zeros.
	end := v.Uint64(size - 8)
	old := v.Uint64(8184)
	if err := v.Blank(); err != nil {
		t.Fatal(err)
	}
	if end.Load() != 0 || old.Load() != 0 || w.Uint64(8184).Load() != 7 {
		t.Error("the window is not blank, or the file is")
	}
	old.Store(1)
	runtime.KeepAlive(v)
	for range 2 {
		if err := errors.Join(v.Release(), w.Release(), v.Blank()); err != nil {
			t.Error(err)
		}
	}
}
