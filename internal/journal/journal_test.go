package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("JOURNAL_TEST_WRITER"); path != "" {
		write(path)
	}
	if role := os.Getenv("JOURNAL_TEST_ROLE"); role != "" {
		roles[role](os.Getenv("JOURNAL_TEST_PATH"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// roles are what this executable does as a child of a test.
var roles = map[string]func(path string){}

// write appends ends until it is killed, and acknowledges each.
func write(path string) {
	j, err := Open(path, true)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		id := ID{KeyOf("t", []string{strconv.Itoa(i)}, ""), 1}
		if s, _ := j.Lookup(id); s.Ended {
			continue
		}
		if j.Start(id, i) != nil || j.End(id, State{Seq: i}) != nil {
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

func id(n int) ID { return ID{KeyOf("template", []string{strconv.Itoa(n)}, "/dir"), 1} }

func open(t *testing.T, path string, resume bool) *Journal {
	t.Helper()
	j, err := Open(path, resume)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, false)
	j.Start(id(1), 1)
	j.Start(id(2), 2)
	j.End(id(2), State{Seq: 2, Code: 3, Signal: 15, Command: 0xabc})
	j.Start(id(3), 3)
	j.End(id(3), State{Seq: 3, Spooled: true, Offset: 77})
	j.End(id(4), State{Seq: 4, Spooled: true, Offset: 0})
	j.Delivered(id(4))
	j.End(id(5), State{Seq: 5, Code: 1})
	j.Start(id(5), 6) // tried again, and killed
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, path, true)
	defer j.Close()
	for n, want := range map[int]State{
		1: {Seq: 1},
		2: {Seq: 2, Ended: true, Code: 3, Signal: 15, Command: 0xabc},
		3: {Seq: 3, Ended: true, Spooled: true, Offset: 77},
		4: {Seq: 4, Ended: true},
		5: {Seq: 5, Ended: true, Code: 1},
	} {
		if got, ok := j.Lookup(id(n)); !ok || got != want {
			t.Errorf("job %d: %+v, want %+v", n, got, want)
		}
	}
	if _, ok := j.Lookup(ID{id(1).Key, 2}); ok || j.Len() != 5 {
		t.Errorf("knows %d jobs", j.Len())
	}
}

// Keys tell apart what is different, however it is cut.
func TestKeyOf(t *testing.T) {
	seen := make(map[Key]string)
	for _, k := range []struct {
		template string
		values   []string
		dir      string
	}{{"a", nil, ""}, {"", []string{"a"}, ""}, {"", nil, "a"}, {"a", []string{"b", "c"}, ""}, {"a", []string{"bc"}, ""}, {"ab", []string{"c"}, ""}, {"a", []string{"", "bc"}, ""}, {"a", []string{"b"}, "c"}} {
		key, text := KeyOf(k.template, k.values, k.dir), fmt.Sprintf("%q", k)
		if old, ok := seen[key]; ok {
			t.Errorf("%s and %s have one key", old, text)
		}
		seen[key] = text
	}
	o := make(Occurrences)
	if a, b := o.Next(Key{1}), o.Next(Key{1}); a.N != 1 || b.N != 2 || o.Next(Key{2}).N != 1 {
		t.Errorf("%v %v", a, b)
	}
}

// Wherever the last write was cut off, what was written before is there, and
// the journal can be gone on with.
func TestTornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, false)
	for n := range 3 {
		j.End(id(n), State{Seq: n})
	}
	j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		for _, tail := range []string{"", "\x00\x00\x00", "garbage\n"} {
			if err := os.WriteFile(path, append(whole[:cut:cut], tail...), 0o644); err != nil {
				t.Fatal(err)
			}
			if cut < len(header) && tail != "" {
				continue // no journal at all
			}
			j := open(t, path, true)
			want := max(strings.Count(string(whole[:cut]), "\n")-1, 0)
			if j.Len() != want {
				t.Fatalf("cut at %d, then %q: %d jobs, want %d", cut, tail, j.Len(), want)
			}
			if cut%50 != 0 { // each sync takes its time
				j.Close()
				continue
			}
			j.End(id(99), State{Seq: 99})
			j.Close()
			j = open(t, path, true)
			if _, ok := j.Lookup(id(99)); !ok || j.Len() != want+1 {
				t.Fatalf("cut at %d: what was written afterwards is lost", cut)
			}
			j.Close()
		}
	}
}

// Damage that is not at the end is not passed over.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, false)
	for n := range 3 {
		j.End(id(n), State{Seq: n})
	}
	j.Close()
	b, _ := os.ReadFile(path)
	b[len(header)+90] ^= 1
	os.WriteFile(path, b, 0o644)
	if _, err := Open(path, true); err == nil || !strings.Contains(err.Error(), "line") {
		t.Errorf("got %v", err)
	}
	// A very long line of garbage is one bad line.
	b[len(header)+90] ^= 1
	long := strings.Repeat("x", 1<<20) + "\n"
	os.WriteFile(path, append([]byte(header+long), b[len(header):]...), 0o644)
	if _, err := Open(path, true); err == nil || !strings.Contains(err.Error(), "line 2:") {
		t.Errorf("got %v", err)
	}
	os.WriteFile(path, append(b, long...), 0o644)
	j = open(t, path, true)
	if j.Close(); j.Len() != 3 {
		t.Errorf("%d jobs before a long torn line", j.Len())
	}
}

// A file that is no journal of this version is left alone, whoever asks.
func TestForeignFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	for text, want := range map[string]string{"something else\n": "not a journal", "brood-journal 2\nS 1\n": "another version"} {
		for _, resume := range []bool{false, true} {
			os.WriteFile(path, []byte(text), 0o644)
			if _, err := Open(path, resume); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%q, resume %v: got %v, want an error with %q", text, resume, err, want)
			}
			if after, _ := os.ReadFile(path); string(after) != text {
				t.Errorf("%q was changed to %q", text, after)
			}
		}
	}
}

// What a journal speaks of is synced before it, soon after a write and without
// being asked, and only when there is something new.
func TestSyncFirst(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal"), false)
	calls := make(chan int64, 10)
	j.SyncFirst(func() error {
		fi, err := j.f.Stat()
		calls <- fi.Size()
		return err
	})
	if err := j.Sync(); err != nil || len(calls) != 0 {
		t.Errorf("%d syncs of an unchanged journal, %v", len(calls), err)
	}
	j.Start(id(1), 1)
	select {
	case size := <-calls:
		if size <= int64(len(header)) {
			t.Error("synced before the write")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a write was not synced")
	}
	failure := errors.New("the disk is broken")
	j.SyncFirst(func() error { return failure })
	j.Start(id(2), 2)
	if err := j.Sync(); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	// What is lost can't be written again: nothing may be promised any more.
	if err := j.End(id(2), State{}); !errors.Is(err, failure) {
		t.Errorf("a call after the failure: %v", err)
	}
	if err := j.Close(); !errors.Is(err, failure) {
		t.Errorf("close: %v", err)
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := open(t, path, false)
	j.End(id(1), State{})
	if _, err := Open(path, false); !errors.Is(err, ErrLocked) {
		t.Errorf("second opener: %v", err)
	}
	j.Close()
	j = open(t, path, true)
	if j.Len() != 1 {
		t.Error("the one who was refused has emptied the journal")
	}
	j.Close()
}

// A full disk is an error that names the file.
func TestDiskFull(t *testing.T) {
	j := new(Journal)
	var err error
	if j.f.File, err = os.OpenFile("/dev/full", os.O_RDWR, 0); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this system has no /dev/full: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer j.f.Close()
	if err := j.End(id(1), State{}); err == nil || !strings.Contains(err.Error(), "/dev/full") {
		t.Errorf("got %v", err)
	}
}

// A writer killed at any moment has lost nothing of what it was told is written.
func TestKilledWriter(t *testing.T) {
	rounds := 50
	if os.Getenv("BROOD_LONG") != "" {
		rounds = 200
	}
	path := filepath.Join(t.TempDir(), "journal")
	rng := rand.New(rand.NewPCG(1, 2))
	total := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_WRITER="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(out)
		for n := 1 + rng.IntN(300); n > 0 && sc.Scan(); n-- {
			if total, err = strconv.Atoi(sc.Text()); err != nil {
				t.Fatalf("round %d: %s", round, sc.Text())
			}
		}
		cmd.Process.Kill()
		for sc.Scan() { // what it acknowledged before it died
			if n, err := strconv.Atoi(sc.Text()); err == nil {
				total = n
			}
		}
		cmd.Wait()
		known, err := Read(path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for i := 0; i <= total; i++ {
			if s := known[ID{KeyOf("t", []string{strconv.Itoa(i)}, ""), 1}]; !s.Ended {
				t.Fatalf("round %d: job %d of %d is lost", round, i, total)
			}
		}
	}
}

// Whatever is in a file, what counts of it counts again when the rest is cut off.
func FuzzLoad(f *testing.F) {
	f.Add(header + "S x 1\n")
	f.Add(header + "E 00000000000000000000000000000000.1 1 0 0 0 - 00000000\n")
	f.Add(header + string(seal([]byte("S 00000000000000000000000000000000.1 1"))) + "torn")
	read := func(text string) (int64, map[ID]State, error) {
		known := make(map[ID]State)
		r := bufio.NewReader(strings.NewReader(text))
		if empty, err := readHeader(r, "fuzz"); empty || err != nil {
			return 0, known, err
		}
		good, err := load(r, "fuzz", known)
		return good, known, err
	}
	f.Fuzz(func(t *testing.T, text string) {
		good, known, err := read(text)
		if err != nil {
			return
		}
		if good < 0 || good > int64(len(text)) {
			t.Fatalf("%d good bytes of %d", good, len(text))
		}
		again, same, err := read(text[:good])
		if err != nil || again != good || !maps.Equal(known, same) {
			t.Errorf("cut to %d bytes: %d, %v, %v; whole: %v", good, again, same, err, known)
		}
	})
}

func BenchmarkStartEnd(b *testing.B) {
	j, err := Open(filepath.Join(b.TempDir(), "journal"), false)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	for n := 0; b.Loop(); n++ {
		j.Start(ID{Key{}, uint32(n)}, n)
		j.End(ID{Key{}, uint32(n)}, State{Seq: n})
	}
}

func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "journal")
	j, err := Open(path, false)
	if err != nil {
		b.Fatal(err)
	}
	const jobs = 10_000
	for n := range jobs {
		j.Start(ID{Key{byte(n), byte(n >> 8)}, 1}, n)
		j.End(ID{Key{byte(n), byte(n >> 8)}, 1}, State{Seq: n})
	}
	j.Close()
	b.ReportAllocs()
	for b.Loop() {
		if known, err := Read(path); err != nil || len(known) != jobs {
			b.Fatal(len(known), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(2*jobs), "ns/record")
}
