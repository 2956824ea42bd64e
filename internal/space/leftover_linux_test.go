package space

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/shm"
)

// names are what a space has in its directory.
func names(f *File) []string { return []string{bulkFile(f), f.name + suffix} }

// inodeOf is the inode of a name.
func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// opened is a directory until the test's end.
func opened(t *testing.T, dir string) *directory {
	t.Helper()
	d, err := openDirectory(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

// The last one who leaves, the sweep and Remove take both names away.
func TestBulkLeftovers(t *testing.T) {
	bulkDirs(t, func(t *testing.T, dir string) {
		f := open(t, dir, "a")
		left(t, dir, names(f)...)
		if all, err := List(dir); err != nil || len(all) != 1 || all[0] != "a" {
			t.Errorf("the list is %v, %v", all, err)
		}
		p := start(t, dir, "a")
		f.Close()
		left(t, dir, names(f)...)
		p.do("close")
		left(t, dir)
		start(t, dir, "b").kill()
		f = open(t, dir, "a") // sweeps
		left(t, dir, names(f)...)
		start(t, dir, "b").kill()
		if err := Remove(dir, "b", false); err != nil {
			t.Error(err)
		}
		start(t, dir, "b").kill()
		if err := Remove(dir, "b", true); err != nil {
			t.Error(err)
		}
		left(t, dir, names(f)...)
		start(t, dir, "b").kill()
		g := open(t, dir, "b") // begins afresh
		left(t, dir, append(names(f), names(g)...)...)
		f.Close()
		g.Close()
		left(t, dir)
	})
}

// After a removal by force the participants keep their bulk among themselves, and who comes
// then has another.
func TestBulkForce(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "x")
	p := start(t, dir, "x")
	u := unit(t, f)
	object(t, f).Word(5).Store(u)
	p.do("put 1000")
	if err := Remove(dir, "x", true); err != nil {
		t.Fatal(err)
	}
	left(t, dir)
	g := open(t, dir, "x")
	for range firstUnit + 10 {
		if unit(t, g) == u { // so that it means a unit in both
			break
		}
	}
	if err := g.WriteBulk(u, text(99, 1000)); err != nil {
		t.Fatal(err)
	}
	if got, err := f.ReadBulk(u, 1000, nil); err != nil || !bytes.Equal(got, text(1000%256, 1000)) {
		t.Errorf("the participants of the first space do not have their bulk: %v", err)
	}
	p.do("get 1000")
	p.do("close")
	f.Close()
	left(t, dir, names(g)...)
	g.Close()
	left(t, dir)
}

// Who removed a space by force and was killed before it removed the bulk has left that to the
// last participant, or to the sweep when they are all dead.
func TestBulkHalfRemoved(t *testing.T) {
	dir := testDir(t)
	d := opened(t, dir)
	f, err := Open(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.unlinkName("x"); err != nil {
		t.Fatal(err)
	}
	y := open(t, dir, "y")
	left(t, dir, append([]string{bulkFile(f)}, names(y)...)...)
	f.Close()
	left(t, dir, names(y)...)

	p := start(t, dir, "x")
	ino := inodeOf(t, d.pathOf("x"))
	if err := d.unlinkName("x"); err != nil {
		t.Fatal(err)
	}
	z := open(t, dir, "z")
	left(t, dir, append(append([]string{bulkName{"x", ino}.file()}, names(y)...), names(z)...)...)
	p.kill()
	x := open(t, dir, "x") // its own name's leftover, too
	left(t, dir, append(append(names(x), names(y)...), names(z)...)...)
	x.Close()
}

// Each state in which a death can leave the two files ends with the next Open, and what
// is no bulk file stays.
func TestBulkSweep(t *testing.T) {
	dir := testDir(t)
	d := opened(t, dir)
	f := open(t, dir, "f")
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for what, prepare := range map[string]func(){
		"unlinked the space's name": func() { write("x.abc.bulk") },
		"the same, and another has the name": func() {
			start(t, dir, "x").kill()
			write(bulkName{"x", inodeOf(t, d.pathOf("x")) + 1}.file())
		},
		"the same, and another lives": func() { write(bulkName{"f", f.key.ino + 1}.file()) },
		"initialised the space": func() {
			start(t, dir, "x").kill()
			os.Remove(path(bulkName{"x", inodeOf(t, d.pathOf("x"))}.file()))
		},
		"created the bulk file": func() { start(t, dir, "x").kill() },
		"left a space without words, and its bulk": func() {
			write("x.space")
			os.Truncate(path("x.space"), 0)
			write(bulkName{"x", inodeOf(t, d.pathOf("x"))}.file())
		},
	} {
		prepare()
		g, err := Open(dir, "g")
		if err != nil {
			t.Fatal(err)
		}
		t.Log(what)
		left(t, dir, append(names(f), names(g)...)...)
		g.Close()
	}
	// The creator finds the bulk of a space whose inode number it has.
	write("x.space")
	os.Truncate(path("x.space"), 0)
	stale := bulkName{"x", inodeOf(t, d.pathOf("x"))}.file()
	if err := os.WriteFile(path(stale), text(3, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	x := open(t, dir, "x")
	if bulkFile(x) != stale || blocks(t, x) != 0 {
		t.Errorf("the file is %s, want %s; it has %d bytes of storage", bulkFile(x), stale, blocks(t, x))
	}
	x.Close()
	others := []string{"x.bulk", "x.0a.bulk", ".x.a.bulk", "x.a.bulk2"}
	for _, name := range others {
		write(name)
	}
	if err := errors.Join(os.Symlink("/dev/null", path("l.a.bulk")), unix.Mkfifo(path("p.a.bulk"), 0o600), os.Mkdir(path("d.a.bulk"), 0o700)); err != nil {
		t.Fatal(err)
	}
	open(t, dir, "g").Close()
	for _, name := range append(others, "l.a.bulk", "p.a.bulk", "d.a.bulk") {
		if err := os.Remove(path(name)); err != nil {
			t.Error(err)
		}
	}
}

// A sweep that is about to remove what it takes for a leftover does not remove it from
// under a creator who has the same inode number.
func TestBulkSweepMeetsCreator(t *testing.T) {
	dir := testDir(t)
	d := opened(t, dir)
	space, st, err := d.open("x", unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		t.Fatal(err)
	}
	defer space.Close()
	file := bulkName{"x", st.Ino}.file()
	sweeper, _, err := d.openFile(file, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		t.Fatal(err)
	}
	defer sweeper.Close()
	if ok, err := sweeper.TryLock(bulkByte); !ok || err != nil {
		t.Fatal(ok, err)
	}
	opening := make(chan *File)
	go func() {
		f, err := Open(dir, "x")
		if err != nil {
			t.Error(err)
		}
		opening <- f
	}()
	waits(t, sweeper)
	if err := d.unlinkBulk(bulkName{"x", st.Ino}); err != nil {
		t.Fatal(err)
	}
	if err := sweeper.Unlock(bulkByte); err != nil {
		t.Fatal(err)
	}
	f := <-opening
	if f == nil {
		return
	}
	if !d.means(file, f.bulk.File) {
		t.Error("the creator has a bulk file without a name")
	}
	f.Close()
	left(t, dir)
}

// waits waits until somebody waits for a lock on a file.
func waits(t *testing.T, f *shm.File) {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for ctx := within(t); ctx.Err() == nil; {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Skipf("the system does not show its locks: %v", err)
		}
		for line := range bytes.Lines(locks) {
			if bytes.Contains(line, []byte("->")) && bytes.Contains(line, fmt.Appendf(nil, ":%d ", st.Ino)) {
				return
			}
		}
	}
	t.Fatal("nobody waits for the lock")
}

// A name that somebody removed by hand is an error that says what to do, and
// concerns nobody who is there already.
func TestBulkRemovedByHand(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "x")
	path := filepath.Join(dir, bulkFile(f))
	p := start(t, dir, "x")
	for _, prepare := range []func() error{
		func() error { return nil },
		func() error { return os.Symlink("/dev/null", path) },
		func() error { return unix.Mkfifo(path, 0o600) },
	} {
		os.Remove(path)
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		d := opened(t, dir)
		_, err := d.openBulk("x", f.file, f.key.ino, false)
		if err == nil {
			t.Fatal("a bulk file of somebody else's was taken")
		}
		t.Log(err)
	}
	os.Remove(path)
	var ferr *FormatError
	if _, err := opened(t, dir).openBulk("x", f.file, f.key.ino, false); !errors.As(err, &ferr) {
		t.Errorf("without the bulk file: %v", err)
	}
	object(t, f).Word(5).Store(unit(t, f))
	p.do("put 10")
	p.do("get 10")
	p.do("close")
}
