package space

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
)

// bulkDirs calls a test with a directory on the file system of spaces, and with one for
// temporary files, which are on a disk mostly.
func bulkDirs(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("memory", func(t *testing.T) { test(t, testDir(t)) })
	t.Run("temporary", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "spaces")
		t.Cleanup(func() { left(t, dir) })
		test(t, dir)
	})
}

// left checks which names there are in a directory.
func left(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, _ := os.ReadDir(dir)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

// text is n bytes that only a seed gives.
func text(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// unit is one that was given away.
func unit(tb testing.TB, f *File) uint64 {
	tb.Helper()
	e, err := f.Extend()
	if err != nil {
		tb.Fatal(err)
	}
	return e.Index
}

// blocks is how much storage the bulk file has.
func blocks(tb testing.TB, f *File) int64 {
	tb.Helper()
	st, err := f.bulk.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	return st.Blocks * 512
}

func bulkFile(f *File) string { return bulkName{f.name, f.key.ino}.file() }

func TestBulk(t *testing.T) {
	bulkDirs(t, func(t *testing.T, dir string) {
		f := open(t, dir, "bulk")
		if st, err := os.Lstat(filepath.Join(dir, bulkFile(f))); err != nil || st.Mode() != 0o600 {
			t.Errorf("the bulk file is created with %v, %v", st.Mode(), err)
		}
		t.Logf("a unit has room for %d bytes", f.BulkRoom())
		before, after := unit(t, f), []byte("the one after")
		u := unit(t, f)
		next := unit(t, f)
		if err := errors.Join(f.WriteBulk(before, after), f.WriteBulk(next, after)); err != nil {
			t.Fatal(err)
		}
		var into []byte
		for i, n := range []int{64 << 20, 0, 1, 4096, bulkTrust, bulkTrust + 1, bulkPart, bulkPart + 1} {
			want := text(byte(i), n)
			err := f.WriteBulk(u, want)
			if int64(n) > f.BulkRoom() {
				if !errors.Is(err, unix.EFBIG) {
					t.Errorf("%d bytes: %v", n, err)
				}
				t.Log(err)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.ReadBulk(u, int64(n), nil)
			if err != nil || !bytes.Equal(got, want) || got == nil {
				t.Errorf("%d bytes: read %d, %v", n, len(got), err)
			}
			again, err := f.ReadBulk(u, int64(n), into)
			if err != nil || !bytes.Equal(again, want) || cap(into) >= max(n, 1) && &again[:1][0] != &into[:1][0] {
				t.Errorf("%d bytes into %d: read %d, %v", n, cap(into), len(again), err)
			}
			into = again[:0]
		}
		for _, u := range []uint64{before, next} {
			if got, err := f.ReadBulk(u, int64(len(after)), nil); err != nil || !bytes.Equal(got, after) {
				t.Errorf("a neighbour is %q, %v", got, err)
			}
		}
		if err := errors.Join(f.WriteBulk(endUnit-1, after), f.WriteBulk(firstUnit, after)); err != nil { // the ends
			t.Error(err)
		}
	})
}

// What a process writes another one reads; what it reserved is given back by anybody.
func TestBulkShared(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "shared")
	o := object(t, f)
	p := start(t, dir, "shared")
	none := blocks(t, f)
	for i, n := range []int{1, 5000, 3 << 20} {
		u := unit(t, f)
		o.Word(5).Store(u)
		sum := p.do(fmt.Sprintf("put %d", n))
		got, err := f.ReadBulk(u, int64(n), nil)
		if err != nil || fmt.Sprint(sumOf(got)) != sum {
			t.Errorf("%d bytes of a peer: %d, %v", n, len(got), err)
		}
		b := text(byte(10+i), n)
		if err := f.WriteBulk(u, b); err != nil {
			t.Fatal(err)
		}
		if got := p.do(fmt.Sprintf("get %d", n)); got != fmt.Sprint(sumOf(b)) {
			t.Errorf("%d bytes to a peer: %s", n, got)
		}
		if now := blocks(t, f); now < none+int64(n) {
			t.Errorf("%d bytes have %d of storage", n, now-none)
		}
		p.do("trim")
		if now := blocks(t, f); now != none {
			t.Errorf("%d bytes of storage are left of %d", now-none, n)
		}
	}
	u := unit(t, f)
	o.Word(5).Store(u)
	p.do("put 100000")
	p.kill()
	if got, err := f.ReadBulk(u, 100000, nil); err != nil || len(got) != 100000 {
		t.Errorf("what a dead peer left: %d bytes, %v", len(got), err)
	}
}

func sumOf(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

// bulkWork is what a peer does for a test of bulk.
func bulkWork(f *File, o *Object, what string, n int) (answer string, err error) {
	u := o.Word(5).Load()
	switch what {
	case "put":
		b := text(byte(n), n)
		return fmt.Sprint(sumOf(b)), f.WriteBulk(u, b)
	case "get":
		b, err := f.ReadBulk(u, int64(n), nil)
		return fmt.Sprint(sumOf(b)), err
	case "trim":
		return "done", f.TrimBulk(u)
	case "limited": // to writing files of n bytes
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(n), Max: unix.RLIM_INFINITY}); err != nil {
			return "", err
		}
		err := f.WriteBulk(u, []byte("x"))
		return fmt.Sprint(errors.Is(err, unix.EFBIG)), nil
	}
	return "", fmt.Errorf("what is %q?", what)
}

// A process that may not write large files gets an error, and no signal ends it.
func TestBulkLimited(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "limited")
	object(t, f).Word(5).Store(unit(t, f))
	p := start(t, dir, "limited")
	if got := p.do("limited 1000000"); got != "true" {
		t.Errorf("the error is EFBIG: %s", got)
	}
	p.do("close")
}

// Nobody reserves memory for what a peer made up.
func TestBulkMadeUp(t *testing.T) {
	bulkDirs(t, func(t *testing.T, dir string) {
		f := open(t, dir, "madeup")
		u, last := unit(t, f), uint64(endUnit-1)
		for _, u := range []uint64{u, last} {
			if err := f.WriteBulk(u, text(1, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		old := m.TotalAlloc
		refused := func(unit uint64, n int64) {
			t.Helper()
			if got, err := f.ReadBulk(unit, n, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d bytes of unit %d: read %d, %v", n, unit, len(got), err)
			}
		}
		for _, n := range []int64{-1, -1 << 63, 1<<20 + 1, 1 << 24, MaxBulk, MaxBulk + 1, 1<<63 - 1} {
			refused(u, n)
			refused(last, n) // beyond it the file ends
		}
		for _, unit := range []uint64{0, firstUnit - 1, endUnit, 1 << 40, 1 << 63, ^uint64(0)} {
			refused(unit, 1)
			if err := f.WriteBulk(unit, nil); !errors.Is(err, ErrCorrupt) {
				t.Errorf("writing to unit %d: %v", unit, err)
			}
			if err := f.TrimBulk(unit); !errors.Is(err, ErrCorrupt) {
				t.Errorf("trimming unit %d: %v", unit, err)
			}
		}
		refused(u+1, bulkTrust+1)
		at, _ := f.bulkAt(u)
		if err := f.bulk.Punch(at+512<<10, 64<<10); err != nil {
			t.Fatal(err)
		}
		refused(u, 1<<20)
		runtime.ReadMemStats(&m)
		if n := m.TotalAlloc - old; n > 1<<20 {
			t.Errorf("%d bytes were allocated for nothing", n)
		}
		if got, err := f.ReadBulk(u, 512<<10, nil); err != nil || len(got) != 512<<10 {
			t.Errorf("before the hole: %d bytes, %v", len(got), err)
		}
		if got, err := f.ReadBulk(u+1, 100, nil); err != nil || !bytes.Equal(got, make([]byte, 100)) {
			t.Errorf("a little of what was never written: %q, %v", got, err)
		}
		if err := unix.Truncate(filepath.Join(dir, bulkFile(f)), at+50); err != nil {
			t.Fatal(err)
		}
		refused(u, 51)
		refused(u, 1<<20)
	})
}

// After Close nothing is read or written, also not in a file that has the descriptor's
// number now, whatever was under way.
func TestBulkClosed(t *testing.T) {
	dir := testDir(t)
	keep := open(t, dir, "keep")
	for round := range 20 {
		f, err := Open(dir, "closed")
		if err != nil {
			t.Fatal(err)
		}
		u := unit(t, f)
		b := text(1, 3000<<(round%11))
		if err := f.WriteBulk(u, b); err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		var wg sync.WaitGroup
		running := make(chan struct{}, 3)
		for g, call := range []func() error{
			func() error { return f.WriteBulk(u, b) },
			func() error { _, err := f.ReadBulk(u, 3000, nil); return err },
			func() error { return f.TrimBulk(u) },
		} {
			wg.Go(func() {
				var err error
				for n := 0; err == nil; n++ {
					if err = call(); n == 0 {
						running <- struct{}{}
					}
				}
				<-closed
				for _, err := range []error{err, call()} {
					if !errors.Is(err, cell.ErrClosed) {
						t.Errorf("call %d after Close: %v", g, err)
					}
				}
			})
		}
		for range 3 {
			<-running
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		var files []*os.File
		for i := range 8 {
			file, err := os.OpenFile(filepath.Join(t.TempDir(), fmt.Sprint(i)), os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		close(closed)
		wg.Wait()
		for _, file := range files {
			if st, err := file.Stat(); err != nil || st.Size() != 0 {
				t.Errorf("somebody wrote into a file: %d bytes, %v", st.Size(), err)
			}
			file.Close()
		}
	}
	// A handle ends alone.
	again := open(t, dir, "keep")
	again.Close()
	u := unit(t, keep)
	if err := keep.WriteBulk(u, []byte("x")); err != nil {
		t.Error(err)
	}
	if err := again.WriteBulk(u, []byte("y")); !errors.Is(err, cell.ErrClosed) {
		t.Errorf("a closed handle writes: %v", err)
	}
}

// fullBulk is what a process does on a file system of 2 MiB. What does not fit leaves the room as it was.
func fullBulk(f *File, must func(ok bool, args ...any)) {
	free := func() uint64 {
		var st unix.Statfs_t
		must(unix.Statfs(filepath.Dir(f.Path()), &st) == nil, "statfs")
		return st.Bfree
	}
	e, err := f.Extend()
	must(err == nil, err)
	before := free()
	err = f.WriteBulk(e.Index, make([]byte, 4<<20))
	must(errors.Is(err, unix.ENOSPC), "WriteBulk:", err)
	must(free() == before, "free:", free(), "before:", before)
	fmt.Println(err)
	must(f.WriteBulk(e.Index, make([]byte, 1<<20)) == nil, "WriteBulk of 1 MiB")
	got, err := f.ReadBulk(e.Index, 1<<20, nil)
	must(err == nil && len(got) == 1<<20, err)
	must(f.TrimBulk(e.Index) == nil && free() == before, "free:", free(), "before:", before)
}

func TestBulkNames(t *testing.T) {
	for _, b := range []bulkName{{"a", 1}, {"a.b.7", 0xfedcba9876543210}, {"x.bulk", 0}} {
		if got, ok := parseBulk(b.file()); !ok || got != b {
			t.Errorf("%v is read as %v", b, got)
		}
	}
	for _, file := range []string{"", ".bulk", "a.bulk", ".a.1.bulk", ".1.bulk", "a.01.bulk", "a.F.bulk", "a.g.bulk", "a.1.space", "a.11111111111111111.bulk", "a..bulk", "a.+1.bulk"} {
		if b, ok := parseBulk(file); ok {
			t.Errorf("%q is read as %v", file, b)
		}
	}
}

func benchmarkBulk(b *testing.B, call func(f *File, unit uint64, data []byte) error) {
	for _, n := range []int{1 << 10, 64 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			f := open(b, testDir(b), "bench")
			u, data := unit(b, f), text(1, n)
			if err := f.WriteBulk(u, data); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(n))
			for b.Loop() {
				if err := call(f, u, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWriteBulk(b *testing.B) {
	b.Run("again", func(b *testing.B) { benchmarkBulk(b, (*File).WriteBulk) })
	b.Run("trimmed", func(b *testing.B) { // each time into storage of its own
		benchmarkBulk(b, func(f *File, unit uint64, data []byte) error {
			return errors.Join(f.WriteBulk(unit, data), f.TrimBulk(unit))
		})
	})
}

func BenchmarkReadBulk(b *testing.B) {
	b.Run("fresh", func(b *testing.B) {
		benchmarkBulk(b, func(f *File, unit uint64, data []byte) error {
			_, err := f.ReadBulk(unit, int64(len(data)), nil)
			return err
		})
	})
	b.Run("into", func(b *testing.B) {
		benchmarkBulk(b, func(f *File, unit uint64, data []byte) error {
			_, err := f.ReadBulk(unit, int64(len(data)), data)
			return err
		})
	})
}

// BenchmarkBulkParallel is two goroutines with a unit each: writers of one file take turns.
func BenchmarkBulkParallel(b *testing.B) {
	f := open(b, testDir(b), "bench")
	b.SetBytes(4 << 10)
	b.RunParallel(func(pb *testing.PB) {
		u, data := unit(b, f), text(1, 4<<10)
		for pb.Next() {
			if err := f.WriteBulk(u, data); err != nil {
				b.Error(err)
			}
		}
	})
}
