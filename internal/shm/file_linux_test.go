package shm

import (
	"bytes"
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

// A byte is shared by many, or locked by one.
func TestShare(t *testing.T) {
	dir := t.TempDir()
	a, b, c := openFile(t, dir), openFile(t, dir), openFile(t, dir)
	if err := errors.Join(a.Share(0), b.Share(0)); err != nil {
		t.Fatal(err)
	}
	if ok, err := c.TryLock(0); ok || err != nil {
		t.Errorf("a shared byte was locked: %v", err)
	}
	if err := errors.Join(a.Unlock(0), b.Close()); err != nil {
		t.Fatal(err)
	}
	if ok, err := c.TryLock(0); !ok || err != nil {
		t.Errorf("nobody shares the byte, and it was not locked: %v", err)
	}
}

// The kernel knows which bytes have storage.
func TestHoles(t *testing.T) {
	f := openFile(t, t.TempDir())
	const block = 64 << 10 // no page is larger
	has := func(off, n int64, want bool) {
		t.Helper()
		if ok, err := f.Allocated(off, n); ok != want || err != nil {
			t.Errorf("%d bytes at %d are there: %v, %v", n, off, ok, err)
		}
	}
	has(0, 1, false)
	b := make([]byte, 3*block)
	for i := range b {
		b[i] = byte(i >> 8)
	}
	if err := f.WriteAt(b, block); err != nil {
		t.Fatal(err)
	}
	has(0, block, false)
	has(block, 3*block, true)
	has(block, 3*block+1, false)
	has(4*block, 1, false)
	has(1<<40, 1, false)
	if err := f.Punch(2*block, block); err != nil {
		t.Fatal(err)
	}
	has(block, block, true)
	has(block, block+1, false)
	has(3*block, block, true)
	got := make([]byte, 4*block)
	n, err := f.ReadAt(got, block)
	clear(b[block : 2*block])
	if n != len(b) || err != nil || !bytes.Equal(got[:n], b) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if st, err := f.Stat(); st.Size != 4*block || err != nil {
		t.Errorf("the size is %d, %v", st.Size, err)
	}
	if ok, err := f.Reaches(1 << 30); !ok || err != nil {
		t.Errorf("a file of 1 GiB is possible: %v, %v", ok, err)
	}
	if ok, err := f.Reaches(-1); ok || err != nil {
		t.Errorf("a file of -1 bytes is possible: %v, %v", ok, err)
	}
}
