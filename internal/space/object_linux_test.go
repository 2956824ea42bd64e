package space

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/shm"
)

func TestObjects(t *testing.T) {
	f := open(t, testDir(t), "objects")
	a, err := f.Object(3, "ä lock", [2]uint64{1, 1 << 63})
	if err != nil {
		t.Fatal(err)
	}
	for i := range ObjectWords {
		if v := a.Word(i).Load(); v != 0 {
			t.Errorf("word %d is %d at first", i, v)
		}
		a.Word(i).Store(uint64(i))
	}
	b, err := f.Object(3, "ä lock", [2]uint64{1, 1 << 63})
	if err != nil || b.Index() != a.Index() || b.Index() == 0 || b.Word(11) != a.Word(11) || b.Kind() != 3 || b.Name() != "ä lock" || b.Params() != a.Params() {
		t.Errorf("opened: %+v, %v", b, err)
	}
	var perr *ParamsError
	_, err = f.Object(3, "ä lock", [2]uint64{1, 2})
	if !errors.As(err, &perr) || perr.Params != a.Params() || perr.ParamsAsked != [2]uint64{1, 2} {
		t.Errorf("other parameters: %v", err)
	}
	t.Log(err)
	_, err = f.Object(4, "ä lock", a.Params())
	if !errors.As(err, &perr) || perr.Kind != 3 || perr.KindAsked != 4 {
		t.Errorf("another kind: %v", err)
	}
	t.Log(err)
	for _, name := range []string{"", strings.Repeat("x", 101), "a\nb", "a\xff"} {
		if _, err := f.Object(1, name, [2]uint64{}); err == nil {
			t.Errorf("object %q was made", name)
		}
	}
	long := strings.Repeat("x", 100)
	if o, err := f.Object(1, long, [2]uint64{}); err != nil || o.Name() != long || o.Word(0).Load() != 0 {
		t.Errorf("a long name: %v", err)
	}
	var names []string
	for o := range f.Objects() {
		names = append(names, o.Name())
	}
	if strings.Join(names, "|") != "ä lock|"+long {
		t.Errorf("objects: %q", names)
	}
}

// All who create the same objects at once get the same ones, and many find room.
func TestManyObjects(t *testing.T) {
	f := open(t, testDir(t), "many")
	n := 70_000
	if testing.Short() {
		n = 5_000
	}
	var wg sync.WaitGroup
	indices := make([][]uint64, 3)
	for g := range indices {
		indices[g] = make([]uint64, n)
		wg.Go(func() {
			for i := range n {
				o, err := f.Object(1, fmt.Sprint("object ", i), [2]uint64{uint64(i)})
				if err != nil {
					t.Error(err)
					return
				}
				indices[g][i] = o.Index()
			}
		})
	}
	wg.Wait()
	seen := make(map[uint64]bool)
	for i, index := range indices[0] {
		if seen[index] || indices[1][i] != index || indices[2][i] != index {
			t.Fatalf("object %d has the indices %d, %d, %d", i, index, indices[1][i], indices[2][i])
		}
		seen[index] = true
	}
	found := 0
	for o := range f.Objects() {
		if o.Name() != fmt.Sprint("object ", o.Params()[0]) {
			t.Fatalf("object %q has parameters %v", o.Name(), o.Params())
		}
		found++
	}
	if found != n {
		t.Errorf("%d objects are listed, there are %d", found, n)
	}
}

func TestExtents(t *testing.T) {
	f := open(t, testDir(t), "extents")
	seen := make(map[uint64]bool)
	for range 5000 { // more than a new file has
		e, err := f.Extend()
		if err != nil {
			t.Fatal(err)
		}
		again, ok := f.Extent(e.Index)
		if seen[e.Index] || e.Index == 0 || !ok {
			t.Fatalf("extent %d: again: %v, found: %v", e.Index, seen[e.Index], ok)
		}
		seen[e.Index] = true
		for i := range cell.ExtentWords {
			if e.At(i).Load() != 0 {
				t.Fatalf("word %d of extent %d is not 0", i, e.Index)
			}
			e.At(i).Store(e.Index)
			if again.At(i) != e.At(i) {
				t.Fatalf("extent %d is at two places", e.Index)
			}
		}
	}
	for _, index := range []uint64{0, 1, firstUnit - 1, endUnit, endUnit - 1, 1 << 63, ^uint64(0)} {
		if _, ok := f.Extent(index); ok {
			t.Errorf("there is an extent %d", index)
		}
	}
}

// Limits are errors that name them.
func TestLimits(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "limits")
	f.word(nextAt).Store(endUnit)
	if _, err := f.Extend(); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "256 MiB") {
		t.Errorf("no room: %v", err)
	}
	f.word(nextAt).Store(endUnit - 1)
	if _, err := f.Extend(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a unit was given away without storage: %v", err)
	}
	if err := f.file.Grow(MaxSize-pageSize, MaxSize); err != nil { // the middle is a hole
		t.Fatal(err)
	}
	if e, err := f.Extend(); err != nil {
		t.Error(err)
	} else {
		e.At(cell.ExtentWords - 1).Store(1) // the last word of all
	}

	// All slots are taken: each by a descriptor of its own, as by a process.
	d, err := openDirectory(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ids := map[cell.ID]bool{f.Self(): true}
	var locks []*shm.File
	for range slots {
		lock, _, err := d.open("limits", unix.O_RDWR)
		if err != nil {
			t.Skipf("the system gives us no %d descriptors: %v", slots, err)
		}
		defer lock.Close()
		locks = append(locks, lock)
		id, err := f.join(lock)
		if err != nil {
			if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "1024") {
				t.Errorf("participant %d: %v", len(ids)+1, err)
			}
			break
		}
		ids[id] = true
	}
	if len(ids) != MaxParticipants || len(f.Participants()) != MaxParticipants {
		t.Errorf("%d IDs of %d participants", len(ids), len(f.Participants()))
	}
	locks[7].Close()
	id, err := f.join(locks[len(locks)-1])
	if err != nil || ids[id] || id.Generation() != 2 {
		t.Errorf("after one has left: %x, %v", id, err)
	}
	// A slot whose generations are used up is left alone.
	locks[8].Close()
	f.slot(9).generation.Store(maxGeneration)
	if id, err := f.join(locks[0]); !errors.Is(err, ErrFull) {
		t.Errorf("a used-up slot was given away again: %x, %v", id, err)
	}
	for _, lock := range locks {
		lock.Close()
	}
}

// create makes objects until it is killed, and says how many there are.
func create(dir, name string) {
	f, err := Open(dir, name)
	for i := 0; err == nil; i++ {
		if _, err = f.Object(1, fmt.Sprint("object ", i/3), [2]uint64{uint64(i / 3), 7}); err == nil && i%100 == 99 {
			fmt.Println(i)
		}
	}
	fmt.Println("error", err)
}

// A creator that is killed leaves no half object.
func TestKilledCreator(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "killed")
	kills := 20
	if testing.Short() {
		kills = 5
	}
	for k := range kills {
		var running []*exec.Cmd
		for range 2 {
			cmd := exec.Command("/proc/self/exe", dir, "killed")
			cmd.Env = append(os.Environ(), roleVar+"=create")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			running = append(running, cmd)
			lines := bufio.NewScanner(out)
			for range 1 + k {
				if !lines.Scan() || strings.HasPrefix(lines.Text(), "error") {
					t.Errorf("a creator says %q", lines.Text())
				}
			}
			go func() { _, _ = io.Copy(io.Discard, out) }()
		}
		for _, cmd := range running {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		seen := make(map[string]bool)
		for o := range f.Objects() {
			if o.Name() != fmt.Sprint("object ", o.Params()[0]) || o.Params()[1] != 7 || seen[o.Name()] {
				t.Fatalf("object %q has parameters %v; seen before: %v", o.Name(), o.Params(), seen[o.Name()])
			}
			seen[o.Name()] = true
		}
	}
	runtime.KeepAlive(f)
}
