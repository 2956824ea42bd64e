package space

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
)

// storm opens and closes spaces until its input ends. It writes a line for each, and an
// error if a space is not what it has to be.
func storm(dir, seed string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	var n uint64
	fmt.Sscan(seed, &n)
	for g := range uint64(2) {
		go func() {
			rnd := rand.New(rand.NewPCG(n, g))
			for {
				if err := errors.Join(visit(dir, fmt.Sprintf("storm%d", rnd.IntN(3)), rnd), visit(dir, forced, rnd)); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Println("done")
			}
		}()
	}
	select {}
}

// forced is a space that visitors remove while others are in it.
const forced = "forced"

// visit takes part in a space for a moment.
func visit(dir, name string, rnd *rand.Rand) error {
	f, err := Open(dir, name)
	if err != nil {
		return err
	}
	defer f.Close()
	o, err := f.Object(1, "x", [2]uint64{1, 2})
	if err != nil {
		return err
	}
	if err := visitBulk(f, rnd); err != nil {
		return err
	}
	for range rnd.IntN(20) {
		// While somebody lives, nobody takes the names from the files: so all who live at one
		// time share them.
		d, err := openDirectory(dir, false)
		if errors.Is(err, unix.ENOENT) && name == forced {
			return nil
		}
		if err != nil {
			return err
		}
		same := d.names(name, f.file) && d.means(bulkFile(f), f.bulk.File)
		d.close()
		if name == forced {
			if rnd.IntN(20) == 0 {
				if err := Remove(dir, name, true); err != nil && !errors.Is(err, unix.ENOENT) {
					return err
				}
			}
		} else if !same {
			return errors.New("a name means another file while a participant lives")
		}
		w := o.Word(rnd.IntN(ObjectWords - 1))
		for v := w.Load(); !w.CompareAndSwap(v, v+1); v = w.Load() {
		}
		f.Wake(w, cell.All)
		if !f.alive(f.Self()) {
			return errors.New("the kernel does not know that we live")
		}
		if rnd.IntN(4) == 0 {
			f.Watch()
		}
	}
	return nil
}

// visitBulk writes and reads some bulk, and checks that all participants have the same file.
func visitBulk(f *File, rnd *rand.Rand) error {
	o, err := f.Object(1, "bulk", [2]uint64{})
	if err != nil {
		return err
	}
	st, err := f.bulk.Stat()
	if err != nil {
		return err
	}
	if w := o.Word(0); !w.CompareAndSwap(0, st.Ino) && w.Load() != st.Ino {
		return fmt.Errorf("the bulk file has the inode %d, others have %d", st.Ino, w.Load())
	}
	e, err := f.Extend()
	if err != nil {
		return err
	}
	b := text(byte(rnd.Uint32()), rnd.IntN(100_000))
	if err := f.WriteBulk(e.Index, b); err != nil {
		return err
	}
	got, err := f.ReadBulk(e.Index, int64(len(b)), nil)
	if err == nil && !bytes.Equal(got, b) {
		err = fmt.Errorf("%d bytes of bulk are others than were written", len(b))
	}
	if err == nil && rnd.IntN(2) == 0 {
		err = f.TrimBulk(e.Index)
	}
	return err
}

func TestStorm(t *testing.T) {
	dir := testDir(t)
	const peers = 4
	kills := 20
	if testing.Short() {
		kills = 6
	}
	var wg sync.WaitGroup
	for i := range peers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 7))
			for k := range kills {
				stormPeer(t, dir, fmt.Sprint(i*1000+k), 1+rnd.IntN(100), k < kills-1)
			}
		})
	}
	wg.Wait()
	f := open(t, dir, "after")
	left(t, dir, names(f)...)
	f.Close()
}

// stormPeer lets a process visit spaces some times, and then kills or ends it.
func stormPeer(t *testing.T, dir, seed string, visits int, kill bool) {
	cmd := exec.Command("/proc/self/exe", dir, seed)
	cmd.Env = append(os.Environ(), roleVar+"=storm")
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	lines := bufio.NewScanner(out)
	for range visits {
		if !lines.Scan() || lines.Text() != "done" {
			t.Errorf("a visitor says %q", lines.Text())
			break
		}
	}
	if kill {
		_ = cmd.Process.Kill()
	} else {
		in.Close()
	}
	for lines.Scan() {
	}
	_ = cmd.Wait()
}

// Where there is no storage, every call says so, and what there is works on.
func TestFull(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", t.TempDir())
	cmd.Env = append(os.Environ(), roleVar+"=full")
	// A mount namespace of its own, so that no mount is left whatever happens.
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState; code == nil || code.ExitCode() == 3 {
		t.Skipf("the system gives us no small file system: %v, %s", err, out)
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

// full is the life of a process on a file system of 2 MiB.
func full(base string) {
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", base, "tmpfs", 0, "size=2m,mode=700")); err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	must := func(ok bool, args ...any) {
		if !ok {
			fmt.Println(args...)
			os.Exit(1)
		}
	}
	dir := base + "/spaces"
	f, err := Open(dir, "x")
	must(err == nil, err)
	o, err := f.Object(1, "before", [2]uint64{})
	must(err == nil, err)
	fullBulk(f, must)
	n := 0
	for err == nil {
		var e cell.Extent
		if e, err = f.Extend(); err == nil {
			e.At(cell.ExtentWords - 1).Store(1)
			n++
		}
	}
	fmt.Println(n, "extents, then:", err)
	must(errors.Is(err, unix.ENOSPC) && n > 5000, "Extend:", err, n)
	err = f.WriteBulk(firstUnit, []byte("x"))
	must(errors.Is(err, unix.ENOSPC), "WriteBulk:", err)
	_, err = f.Object(1, "after", [2]uint64{})
	must(errors.Is(err, unix.ENOSPC), "Object:", err)
	_, err = Open(dir, "y")
	must(errors.Is(err, unix.ENOSPC), "Open:", err)
	fmt.Println(err)
	names, err := List(dir)
	must(err == nil && len(names) == 1, "left:", names, err)
	again, err := f.Object(1, "before", [2]uint64{})
	must(err == nil && again.Index() == o.Index(), err)
	must(f.Close() == nil, "Close")
}
