package space

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
)

func TestShared(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "shared")
	o := object(t, f)
	p := start(t, dir, "shared")
	if p.id == f.Self() || p.id.Generation() == 0 || !f.Alive(p.id) || !f.Alive(f.Self()) {
		t.Errorf("participants are %x and %x, alive: %v, %v", f.Self(), p.id, f.Alive(f.Self()), f.Alive(p.id))
	}
	p.begin("wait 3")
	o.Word(3).Store(7)
	f.Wake(o.Word(3), 1)
	if got := p.answer(); got != "done" {
		t.Fatal(got)
	}
	p.do("add 3")
	if v := o.Word(3).Load(); v != 8 {
		t.Errorf("the word is %d, want 8", v)
	}
	all := f.Participants()
	if len(all) != 2 || all[0].PID != os.Getpid() || all[1].PID != p.cmd.Process.Pid || all[1].ID != p.id || all[1].Foreign {
		t.Errorf("participants: %v", all)
	}
	p.kill()
	if f.Alive(p.id) {
		t.Error("a killed participant lives")
	}
	if f.Alive(0) || f.Alive(cell.MakeID(f.Self().Slot(), f.Self().Generation()+1)) || f.Alive(cell.MakeID(900, 1)) {
		t.Error("nobody lives")
	}
}

// All handles of a process are one participant, and end alone.
func TestHandles(t *testing.T) {
	dir := testDir(t)
	a, b := open(t, dir, "handles"), open(t, dir, "handles")
	if a.Self() != b.Self() || len(a.Participants()) != 1 {
		t.Errorf("two handles are participants %x and %x", a.Self(), b.Self())
	}
	wa, wb := object(t, a).Word(0), object(t, b).Word(0)
	if wa != wb {
		t.Error("two handles see the same word at different places")
	}
	results := make(chan error, 2)
	go func() { results <- a.Wait(context.Background(), wa, 0, a.Watch()) }()
	go func() { results <- b.Wait(context.Background(), wb, 0, b.Watch()) }()
	for threadsIn(t) == 0 {
		runtime.Gosched()
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-results; !errors.Is(err, cell.ErrClosed) {
		t.Errorf("Wait through the closed handle: %v", err)
	}
	wb.Store(1)
	b.Wake(wb, 1)
	if err := <-results; err != nil {
		t.Errorf("Wait through the open handle: %v", err)
	}
	if err := a.Wait(context.Background(), wa, 0, a.Watch()); !errors.Is(err, cell.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A-b_c.9": true, strings.Repeat("x", 100): true, "": false, ".a": false,
		strings.Repeat("x", 101): false, "a/b": false, "a b": false, "ä": false, "a\x00": false, "..": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		} else if _, operr := Open("/nowhere", name); err != nil && operr == nil {
			t.Errorf("%q was opened", name)
		}
	}
	if a, b := Random(), Random(); a == b || CheckName(a) != nil {
		t.Errorf("random names: %s, %s", a, b)
	}
	t.Setenv(DirVar, "relative")
	if dir, err := Dir(); err == nil {
		t.Errorf("the directory is %s", dir)
	}
	t.Setenv(DirVar, "/tmp/x/")
	if dir, err := Dir(); err != nil || dir != "/tmp/x" {
		t.Errorf("the directory is %s, %v", dir, err)
	}
}

func TestDirectory(t *testing.T) {
	base := filepath.Dir(testDir(t))
	wrong := func(what string, prepare func(dir string) error) {
		t.Helper()
		dir := filepath.Join(base, what)
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		f, err := Open(dir, "x")
		if err == nil {
			f.Close()
			t.Errorf("%s: opened", what)
			return
		}
		if !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error does not name it: %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
	other := filepath.Join(base, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	wrong("link", func(dir string) error { return os.Symlink(other, dir) })
	wrong("file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) })
	wrong("open to others", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o750)) })
	wrong("no/parent", func(string) error { return nil })
	if os.Geteuid() == 0 {
		wrong("of another user", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 1, 1)) })
	}
	dir := filepath.Join(base, "new")
	f := open(t, dir, "x")
	if st, err := os.Lstat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory is created with %v, %v", st.Mode(), err)
	}
	if st, err := os.Lstat(f.Path()); err != nil || st.Mode() != 0o600 || st.Size() > 1<<20 {
		t.Errorf("the file is created with %v and %d bytes, %v", st.Mode(), st.Size(), err)
	}
}

// What is at a space's path and is no space of ours is an error, which says what to do,
// and stays as it is.
func TestWrongFiles(t *testing.T) {
	dir := testDir(t)
	open(t, dir, "other") // creates the directory, and would sweep the files
	path := func(name string) string { return filepath.Join(dir, name+suffix) }
	lives := func(name string, change func(f *os.File) error) {
		t.Helper()
		start(t, dir, name)
		f, err := os.OpenFile(path(name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := change(f); err != nil {
			t.Fatal(err)
		}
	}
	write := func(at int64, text string) func(*os.File) error {
		return func(f *os.File) error { _, err := f.WriteAt([]byte(text), at); return err }
	}
	lives("version", write(versionAt, "\x63\x00\x00\x00\x00\x00\x00\x00"))
	lives("layout", write(hashAt, "garbage!"))
	lives("magic", write(magicAt, "garbage!"))
	lives("zero", write(magicAt, "\x00\x00\x00\x00\x00\x00\x00\x00"))
	lives("empty", func(f *os.File) error { return f.Truncate(0) })
	lives("truncated", func(f *os.File) error { return f.Truncate(5000) })
	lives("tiny", func(f *os.File) error { return f.Truncate(20) })
	if err := os.WriteFile(path("text"), []byte("Dear diary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"version", "layout", "magic", "zero", "empty", "truncated", "tiny", "text"} {
		for range 2 { // the first attempt changes nothing
			f, err := Open(dir, name)
			if err == nil {
				f.Close()
				t.Errorf("%s: opened", name)
				continue
			}
			var ferr *FormatError
			if !errors.As(err, &ferr) || ferr.Path != path(name) || ferr.Found == "" || ferr.Want == "" || !strings.Contains(err.Error(), "brood space rm "+name) {
				t.Errorf("%s: %v", name, err)
			}
			t.Log(err)
		}
		if v, err := Peek(dir, name); err == nil {
			v.Close()
			t.Errorf("%s: Peek took it", name)
		}
		if err := Remove(dir, name, true); err != nil {
			t.Error(err)
		}
	}
	for name, make := range map[string]func(path string) error{
		"link":  func(path string) error { return os.Symlink("/dev/null", path) },
		"fifo":  func(path string) error { return unix.Mkfifo(path, 0o600) },
		"dir":   func(path string) error { return os.Mkdir(path, 0o700) },
		"group": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o640)) },
	} {
		if err := make(path(name)); err != nil {
			t.Fatal(err)
		}
		f, err := Open(dir, name)
		if err == nil {
			f.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), path(name)) {
			t.Errorf("%s: %v", name, err)
		}
		os.Remove(path(name))
	}
}

// An initialisation that was cut short is made good, and what a crash left begins afresh.
func TestCrashes(t *testing.T) {
	dir := testDir(t)
	open(t, dir, "other")
	path := filepath.Join(dir, "x"+suffix)
	// Past each write of initialise.
	half := make([]byte, firstSize)
	half[versionAt] = version
	for _, left := range [][]byte{nil, make([]byte, 10), make([]byte, firstSize), half} {
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(dir, "x")
		if err != nil {
			t.Fatal(err)
		}
		object(t, f)
		f.Close()
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir, "y")
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%d bytes of zeros were not swept", len(left))
		}
	}
	p := start(t, dir, "x")
	p.do("add 1")
	p.kill()
	f, err := Open(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	if v := object(t, f).Word(1).Load(); v != 0 {
		t.Errorf("a space whose participants are dead begins with %d", v)
	}
	f.Close()
	p = start(t, dir, "z")
	p.kill()
	if names, err := List(dir); err != nil || strings.Join(names, " ") != "other y z" {
		t.Errorf("list: %v, %v", names, err)
	}
	open(t, dir, "other")
	if names, _ := List(dir); strings.Join(names, " ") != "other y" {
		t.Errorf("list after a sweep: %v", names)
	}
}

func TestPeekAndRemove(t *testing.T) {
	dir := testDir(t)
	if names, err := List(dir); err != nil || len(names) != 0 {
		t.Errorf("a directory that does not exist: %v, %v", names, err)
	}
	f := open(t, dir, "x")
	o := object(t, f)
	o.Word(2).Store(5)
	v, err := Peek(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Name() != "x" || v.Path() != f.Path() || len(v.Participants()) != 1 || !v.Alive(f.Self()) {
		t.Errorf("seen from outside: %s, %s, %v", v.Name(), v.Path(), v.Participants())
	}
	for o := range v.Objects() {
		if o.Name() != "test" || o.Kind() != 1 || o.Word(2).Load() != 5 {
			t.Errorf("object %s of kind %d", o.Name(), o.Kind())
		}
	}
	if o, err := v.Object(1, "test", [2]uint64{}); err != nil || o.Word(2).Load() != 5 {
		t.Errorf("an object seen from outside: %v", err)
	}
	_, err = v.Object(1, "new", [2]uint64{})
	if _, eerr := v.Extend(); !errors.Is(err, errors.ErrUnsupported) || !errors.Is(eerr, errors.ErrUnsupported) {
		t.Errorf("making an object from outside: %v, an extent: %v", err, eerr)
	}
	err = Remove(dir, "x", false)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), f.Participants()[0].String()) {
		t.Errorf("removing a space in use: %v", err)
	}
	t.Log(err)
	if err := Remove(dir, "x", true); err != nil {
		t.Error(err)
	}
	// There are two spaces now, and the end of the one does not concern the other.
	g := open(t, dir, "x")
	if g.Path() != f.Path() || object(t, g).Word(2).Load() != 0 {
		t.Error("after a removal by force, the name means the same space")
	}
	f.Close()
	if _, err := os.Lstat(g.Path()); err != nil {
		t.Error(err)
	}
	g.Close()
	if v.Participants() != nil || len(v.Participants()) != 0 {
		t.Errorf("participants of a space that has ended: %v", v.Participants())
	}
	if err := Remove(dir, "x", false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removing what is not there: %v", err)
	}
	start(t, dir, "x").kill()
	if err := Remove(dir, "x", false); err != nil {
		t.Errorf("removing what a crash left: %v", err)
	}
}

// Once the kernel says that a participant is gone, none of its goroutines reaches the memory
// any more, even if its Close does not get on.
func TestLeaveEndsWriting(t *testing.T) {
	dir := testDir(t)
	p := start(t, dir, "ends")
	f, err := Open(dir, "ends")
	if err != nil {
		t.Fatal(err)
	}
	own := object(t, f).Word(0)
	own.Store(1)
	v, err := Peek(dir, "ends")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	seen, err := v.Object(1, "test", [2]uint64{})
	if err != nil {
		t.Fatal(err)
	}
	deaths := p.do("deaths")
	f.watch.mu.Lock() // the end of the watch needs it
	closed := make(chan error)
	go func() { closed <- f.Close() }()
	for ctx := within(t); v.Alive(f.Self()) && ctx.Err() == nil; runtime.Gosched() {
	}
	own.Store(2)
	if now := seen.Word(0).Load(); now != 1 {
		t.Errorf("one who is gone wrote %d", now)
	}
	if _, err := f.Object(1, "other", [2]uint64{}); !errors.Is(err, cell.ErrClosed) {
		t.Errorf("an object of a space that this process is leaving: %v", err)
	}
	if _, err := f.Extend(); !errors.Is(err, cell.ErrClosed) {
		t.Errorf("an extent of a space that this process is leaving: %v", err)
	}
	f.watch.mu.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if now := p.do("deaths"); now == deaths {
		t.Error("the leave is no death to the others")
	}
	if names := len(v.Participants()); names != 1 {
		t.Errorf("%d participants are left, want 1", names)
	}
	p.do("close")
}
