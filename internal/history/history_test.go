package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

var sleepGroup = Group{Template: "5:sleep,2:{},", Text: "sleep {}", Dir: "/dir"}

// flush adds runs of one job and flushes them.
func flush(t *testing.T, h *History, value string, walls ...time.Duration) {
	t.Helper()
	for _, w := range walls {
		h.Add([]string{value}, Measure{w, w / 2, int64(w.Milliseconds()) << 20})
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
}

// verify compares the sums with what they are sums of, looks at every page, and
// returns the number of runs.
func verify(t *testing.T, path string) (runs int) {
	t.Helper()
	err := view(path, func(s *store) error {
		for err := range s.tx.Check() {
			t.Error(err)
		}
		all, err := s.list()
		if err != nil {
			return err
		}
		count := uint64(0)
		for _, info := range all {
			g, _, err := s.group(info.Key)
			if err != nil {
				return err
			}
			sum := groupRecord{}
			jobRuns := 0
			if err := s.each(info.Key, func(_ jobKey, j jobRecord) {
				sum.replace(&jobRecord{}, &j)
				jobRuns += int(j.runs)
			}); err != nil {
				return err
			}
			if sum.jobs != g.jobs || sum.wall != g.wall || sum.cpu != g.cpu || sum.memory != g.memory || sum.measured != g.measured {
				t.Errorf("%s: the sums of the jobs are %+v, those of the group %+v", g.text, sum, g)
			}
			if jobRuns > int(g.runs) {
				t.Errorf("%s: %d runs of the jobs, %d of the group", g.text, jobRuns, g.runs)
			}
			count += g.jobs
			runs += jobRuns
		}
		if count != s.count {
			t.Errorf("%d jobs, but %d are counted", count, s.count)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func TestEstimates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "history.db")
	h := New(path, sleepGroup)
	if e, s := h.Estimate([]string{"1"}); s != None || e != (Estimate{}) {
		t.Errorf("an empty history estimates %v of %v", e, s)
	}
	h.Add([]string{"1"}, Measure{4 * time.Second, time.Second, 8 << 20})
	h.Add([]string{"1"}, Measure{2 * time.Second, 3 * time.Second, 0})
	h.Add([]string{"2"}, Measure{time.Second, 0, 0})
	h.Ended(Batch{3, 7 * time.Second})
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && fi.Mode() != 0o600 {
		t.Error(fi.Mode(), err)
	}
	if fi, err := os.Stat(filepath.Dir(path)); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o700 {
		t.Error(fi.Mode(), err)
	}
	h = New(path, sleepGroup)
	for _, tt := range []struct {
		values []string
		want   Estimate
		source Source
	}{
		{[]string{"1"}, Estimate{Measure{3 * time.Second, 2 * time.Second, 8 << 20}, 2}, OfJob}, // the first two weigh the same
		{[]string{"2"}, Estimate{Measure{time.Second, 0, 0}, 1}, OfJob},
		{[]string{"3"}, Estimate{Measure{2 * time.Second, time.Second, 8 << 20}, 3}, OfGroup}, // the mean of jobs, not of runs
		{[]string{"1", ""}, Estimate{Measure{2 * time.Second, time.Second, 8 << 20}, 3}, OfGroup},
	} {
		if e, s := h.Estimate(tt.values); e != tt.want || s != tt.source {
			t.Errorf("%q: %v of %v, want %v of %v", tt.values, e, s, tt.want, tt.source)
		}
	}
	if b, ok := h.Last(); !ok || b != (Batch{3, 7 * time.Second}) {
		t.Error(b, ok)
	}
	for _, g := range []Group{{Template: "x", Dir: "/dir"}, {Template: sleepGroup.Template, Dir: "/"}} {
		if _, s := New(path, g).Estimate([]string{"1"}); s != None {
			t.Errorf("%v knows what is of another group", g)
		}
	}
	verify(t, path)
}

// An estimate follows what changes, within a dozen of runs; memory grows at once.
func TestConverge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	h := New(path, sleepGroup)
	flush(t, h, "1", slices.Repeat([]time.Duration{time.Second}, 20)...)
	estimate := func() Estimate {
		e, s := New(path, sleepGroup).Estimate([]string{"1"})
		if s != OfJob {
			t.Fatal(s)
		}
		return e
	}
	if e := estimate(); e.Wall != time.Second || e.CPU != time.Second/2 || e.Memory != 1000<<20 || e.Runs != 20 {
		t.Error(e)
	}
	flush(t, h, "1", 3*time.Second)
	if e := estimate(); e.Wall != 1500*time.Millisecond || e.Memory != 3000<<20 {
		t.Error(e)
	}
	flush(t, h, "1", slices.Repeat([]time.Duration{time.Second}, 12)...)
	if e := estimate(); e.Wall > 1050*time.Millisecond || e.Memory < 1000<<20 || e.Memory > 1100<<20 {
		t.Error(e)
	}
	verify(t, path)
}

func TestNil(t *testing.T) {
	var h *History
	if e, s := h.Estimate([]string{"1"}); s != None || e != (Estimate{}) {
		t.Error(e, s)
	}
	if _, ok := h.Last(); ok || h.Add(nil, Measure{}) != 0 || h.Load() != nil || h.Flush() != nil {
		t.Error("a nil history knows something")
	}
	h.Ended(Batch{})
}

// Two runs at once lose nothing of each other: each merges into what is there by then.
func TestTwoWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	a, b := New(path, sleepGroup), New(path, sleepGroup)
	a.Load()
	b.Load()
	for i := range 10 {
		flush(t, a, "1", time.Second)
		flush(t, b, strconv.Itoa(i%2), time.Second)
	}
	if runs := verify(t, path); runs != 20 {
		t.Errorf("%d runs, want 20", runs)
	}
	if e, _ := New(path, sleepGroup).Estimate([]string{"1"}); e.Runs != 15 || e.Wall != time.Second {
		t.Error(e)
	}
}

// A lock that somebody has for long is not waited for; what was collected is kept.
func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	h := New(path, sleepGroup)
	flush(t, h, "1", time.Second)
	h.Add([]string{"1"}, Measure{Wall: time.Second})
	err := update(path, func(*store) error {
		if err := h.Flush(); !errors.Is(err, ErrBusy) {
			t.Errorf("a locked store: %v", err)
		}
		if err := New(path, sleepGroup).Load(); !errors.Is(err, ErrBusy) {
			t.Errorf("a locked store: %v", err)
		}
		if _, s := New(path, sleepGroup).Estimate([]string{"1"}); s != None {
			t.Error(s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	if runs := verify(t, path); runs != 2 {
		t.Errorf("%d runs, want 2", runs)
	}
	// Readers don't wait for one another.
	if err := view(path, func(*store) error { return New(path, sleepGroup).Load() }); err != nil {
		t.Error(err)
	}
}

func TestBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	merge := func(group string, at int64, jobs int) {
		t.Helper()
		err := update(path, func(s *store) error {
			s.maxGroups, s.maxJobs = 10, 1000
			runs := make([]run, jobs)
			for i := range runs {
				v := []string{strconv.Itoa(i)}
				runs[i] = run{key: keyOf(v), values: packValues(v), at: at + int64(i), Measure: Measure{Wall: time.Second, Memory: int64(i % 2)}}
			}
			return s.merge(&Group{Template: group, Text: group}, runs, nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		verify(t, path)
	}
	groups := func() (names []string) {
		t.Helper()
		all, err := List(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			names = append(names, g.Text+":"+strconv.Itoa(g.Jobs))
		}
		return names
	}
	for i := range 10 {
		merge(strconv.Itoa(i), int64(i)*1000, 2)
	}
	if g := groups(); len(g) != 10 {
		t.Errorf("as many groups as are allowed: %v", g)
	}
	merge("old", 1, 2) // the one in use stays although it is the oldest
	if g, want := groups(), []string{"9:2", "8:2", "7:2", "6:2", "5:2", "4:2", "3:2", "2:2", "old:2"}; !slices.Equal(g, want) {
		t.Errorf("groups %v, want %v", g, want)
	}
	merge("9", 20_000, 1000) // all others go, which is enough
	if g, want := groups(), []string{"9:1000"}; !slices.Equal(g, want) {
		t.Errorf("groups %v, want %v", g, want)
	}
	merge("10", 30_000, 500) // with the group of 1000: it goes
	if g, want := groups(), []string{"10:500"}; !slices.Equal(g, want) {
		t.Errorf("groups %v, want %v", g, want)
	}
	merge("10", 40_000, 1001)
	jobs, err := Jobs(path, (&Group{Template: "10", Text: "10"}).key())
	if err != nil || len(jobs) != 900 || slices.ContainsFunc(jobs, func(j JobInfo) bool { return j.Values[0] == "100" }) {
		t.Errorf("%d jobs %v; the oldest are to go", len(jobs), err)
	}
}

func TestList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	odd := Group{Template: "odd", Text: "a\n\xff" + strings.Repeat("x", 2*maxText), Dir: "/\x1b"}
	if all, err := List(path); err != nil || len(all) > 0 {
		t.Error(all, err)
	}
	if jobs, err := Jobs(path, odd.key()); err != nil || len(jobs) > 0 {
		t.Error(jobs, err)
	}
	h := New(path, odd)
	long := strings.Repeat("y", 2*maxValues)
	for i, v := range [][]string{{"\xff", "", "\n"}, {long, "z"}, {}} {
		h.Add(v, Measure{Wall: time.Duration(i) * time.Second})
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	all, err := List(path)
	if err != nil || len(all) != 1 || all[0].Text != odd.Text[:maxText] || all[0].Dir != odd.Dir || all[0].Jobs != 3 || all[0].Total != 3*time.Second {
		t.Fatal(all, err)
	}
	jobs, err := Jobs(path, all[0].Key)
	if err != nil || len(jobs) != 3 {
		t.Fatal(jobs, err)
	}
	for i, want := range [][]string{{}, {long[:maxValues]}, {"\xff", "", "\n"}} {
		if !slices.Equal(jobs[i].Values, want) {
			t.Errorf("job %d: %q", i, jobs[i].Values)
		}
	}
	if err := Remove(path, all[0].Key, all[0].Key); err != nil {
		t.Fatal(err)
	}
	verify(t, path)
	if all, err = List(path); err != nil || len(all) > 0 {
		t.Error(all, err)
	}
	if err := errors.Join(Clear(path), Clear(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestPath(t *testing.T) {
	home, file, state := t.TempDir(), filepath.Join(t.TempDir(), "file"), t.TempDir()
	atHome := filepath.Join(home, ".local", "state", "brood", "history.db")
	for _, tt := range []struct{ history, state, want string }{
		{file, state, file},
		{"unset", state, filepath.Join(state, "brood", "history.db")},
		{"unset", "", atHome},
		{"unset", "relative", atHome},
		{"", state, ""},
	} {
		t.Run(filepath.Base(tt.history)+" "+filepath.Base(tt.state), func(t *testing.T) {
			t.Setenv("HOME", home)
			t.Setenv("USERPROFILE", home) // HOME of Windows
			t.Setenv("XDG_STATE_HOME", tt.state)
			t.Setenv("BROOD_HISTORY", tt.history)
			if tt.history == "unset" {
				os.Unsetenv("BROOD_HISTORY") // Setenv puts the old one back
			}
			path, err := Path()
			if path != tt.want || (tt.want == "") != errors.Is(err, ErrOff) {
				t.Errorf("%q, %v", path, err)
			}
		})
	}
}

// damages are ways to spoil a store that is there.
var damages = []struct {
	name  string
	spoil func(path string) error
}{
	{"text", func(path string) error { return os.WriteFile(path, []byte("this is no database\n"), 0o600) }},
	{"long text", func(path string) error {
		return os.WriteFile(path, []byte(strings.Repeat("this is no database\n", 10_000)), 0o600)
	}},
	{"zeros", func(path string) error { return os.WriteFile(path, make([]byte, 1<<16), 0o600) }},
	{"cut after the meta pages", func(path string) error { return os.Truncate(path, int64(os.Getpagesize())*2) }},
	{"cut within the meta pages", func(path string) error { return os.Truncate(path, int64(os.Getpagesize())) }},
	{"no data", func(path string) error {
		return overwrite(path, int64(os.Getpagesize())*2, make([]byte, 64*os.Getpagesize()))
	}},
	{"another version", func(path string) error {
		return update(path, func(s *store) error { return s.meta.Put(versionName, []byte{version + 1}) })
	}},
	{"no version", func(path string) error {
		return update(path, func(s *store) error { return s.meta.Delete(versionName) })
	}},
	{"another database", func(path string) error {
		os.Remove(path)
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			return err
		}
		return errors.Join(db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("accounts"))
			return err
		}), db.Close())
	}},
	{"a record", func(path string) error {
		key := sleepGroup.key()
		return update(path, func(s *store) error { return s.groups.Put(key[:], []byte{1, 2, 0x80}) })
	}},
	{"a group without jobs", func(path string) error {
		key := sleepGroup.key()
		return update(path, func(s *store) error { return s.jobs.DeleteBucket(key[:]) })
	}},
}

func overwrite(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

func TestDamage(t *testing.T) {
	for _, d := range damages {
		for _, reading := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/reading=%v", d.name, reading), func(t *testing.T) {
				if reading == false && d.name == "a group without jobs" {
					return // made anew, without a word
				}
				path := filepath.Join(t.TempDir(), "history.db")
				flush(t, New(path, sleepGroup), "1", time.Second)
				if err := d.spoil(path); err != nil {
					t.Fatal(err)
				}
				before, _ := os.ReadFile(path)
				h := New(path, sleepGroup)
				h.Add([]string{"2"}, Measure{Wall: time.Second})
				var err error
				if reading {
					err = h.Load()
				} else {
					err = h.Flush()
				}
				if damage := (*Damage)(nil); !errors.As(err, &damage) {
					t.Fatalf("the damage was not noticed: %v", err)
				}
				if after, _ := os.ReadFile(path + ".damaged"); !slices.Equal(before, after) {
					t.Error("what was set aside is not what was damaged")
				}
				if err := h.Flush(); err != nil {
					t.Error(err)
				}
				if runs := verify(t, path); runs != 1 {
					t.Errorf("%d runs, want 1", runs)
				}
			})
		}
	}
}

// Of many that find the same damage one sets it aside, and none the new store.
func TestDamageFoundByMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	for round := range 20 {
		if err := os.WriteFile(path, []byte("damage"), 0o600); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		for i := range 8 {
			go func() {
				h := New(path, sleepGroup)
				h.Add([]string{strconv.Itoa(i)}, Measure{Wall: time.Second})
				done <- h.Flush()
			}()
		}
		for range 8 {
			if err, d := <-done, (*Damage)(nil); err != nil && !errors.As(err, &d) {
				t.Fatal(err)
			}
		}
		if b, _ := os.ReadFile(path + ".damaged"); string(b) != "damage" {
			t.Fatalf("round %d: %d bytes were set aside that are not the damage", round, len(b))
		}
		if runs := verify(t, path); runs != 8 {
			t.Fatalf("round %d: %d runs, want 8", round, runs)
		}
	}
}
