package batch

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/brood-go/brood/internal/journal"
)

// values makes jobs of one template and a value each.
func values(t *testing.T, template string, vs ...string) iter.Seq2[Job, error] {
	t.Helper()
	tmpl, err := ParseTemplate([]string{template})
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(Job, error) bool) {
		for _, v := range vs {
			if !yield(Job{Template: tmpl, Values: []string{v}}, nil) {
				return
			}
		}
	}
}

// ran lists what the jobs appended to a file.
func ran(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

func TestResume(t *testing.T) {
	dir := t.TempDir()
	log, done := filepath.Join(dir, "log"), filepath.Join(dir, "done")
	// Fails for values that begin with f, unless a file says otherwise.
	tmpl := "echo {} >> " + done + "; case {} in f*) [ -e " + dir + "/mended ];; esac"
	o := Options{Slots: 1, JobLog: log, Halt: Halt{When: HaltSoon, On: OnDone, Count: 3}}
	run(t, o, values(t, tmpl, "a", "f1", "a", "b", "f2"))
	if got := ran(t, done); got != "a f1 a" {
		t.Fatalf("first run: %s", got)
	}
	o.Halt, o.Resume = Halt{}, Unfinished
	_, sum, err := run(t, o, values(t, tmpl, "a", "f1", "a", "b", "f2"))
	if got := ran(t, done); err != nil || got != "a f1 a b f2" || sum.Skipped != 3 {
		t.Errorf("resumed: %s, %+v %v", got, sum, err)
	}
	// A changed input: what is new runs, what is gone is named, what was done
	// is known whatever its place, and a third a is not one of the two.
	_, sum, err = run(t, o, values(t, tmpl, "c", "b", "a", "a", "a"))
	if got := ran(t, done); err != nil || got != "a f1 a b f2 c a" || sum.Skipped != 3 {
		t.Errorf("changed: %s, %+v %v", got, sum, err)
	}
	if len(sum.Notes) != 1 || !strings.Contains(sum.Notes[0], "2 jobs that are not in this input") {
		t.Errorf("notes %q", sum.Notes)
	}
	// Failed ones again.
	if err := os.WriteFile(dir+"/mended", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Resume = Failed
	_, sum, err = run(t, o, values(t, tmpl, "a", "f1", "a", "b", "f2"))
	if got := ran(t, done); err != nil || got != "a f1 a b f2 c a f1 f2" || sum.OK != 2 {
		t.Errorf("resume-failed: %s, %+v %v", got, sum, err)
	}
	_, sum, err = run(t, o, values(t, tmpl, "a", "f1", "a", "b", "f2"))
	if err != nil || sum.Done != 0 || sum.Skipped != 5 {
		t.Errorf("at the end: %+v %v", sum, err)
	}
}

// Another directory or template is another job; another number is not.
func TestResumeKeys(t *testing.T) {
	dir := t.TempDir()
	o := Options{Slots: 1, JobLog: filepath.Join(dir, "log"), Dir: "/"}
	run(t, o, values(t, "echo {#} {%} {}", "a", "b"))
	o.Resume = Unfinished
	for _, tt := range []struct {
		dir, template string
		values        []string
		skipped       int
	}{
		{"/", "echo {#} {%} {}", []string{"b", "a"}, 2},
		{"/tmp", "echo {#} {%} {}", []string{"a", "b"}, 0},
		{"/", "echo  {#} {%} {}", []string{"a", "b"}, 0},
	} {
		o.Dir = tt.dir
		if _, sum, err := run(t, o, values(t, tt.template, tt.values...)); err != nil || sum.Skipped != tt.skipped {
			t.Errorf("%+v: skipped %d, %v", tt, sum.Skipped, err)
		}
	}
}

func TestRetryFailed(t *testing.T) {
	dir := t.TempDir()
	log, done := filepath.Join(dir, "log"), filepath.Join(dir, "done")
	tmpl := "echo {} >> " + done + "; case {} in f*) [ -e " + dir + "/mended ];; esac"
	o := Options{Slots: 1, JobLog: log}
	run(t, o, values(t, tmpl, "a", "f\n1", "f2"))
	if err := os.WriteFile(dir+"/mended", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Resume = Retry
	jobs, err := FailedJobs(log)
	if err != nil {
		t.Fatal(err)
	}
	_, sum, err := run(t, o, jobs)
	if got := ran(t, done); err != nil || sum.OK != 2 || got != "a f 1 f2 f 1 f2" {
		t.Errorf("%s, %+v %v", got, sum, err)
	}
	// Now none has failed any more: not for the log, and not for --resume-failed.
	if jobs, err = FailedJobs(log); err != nil {
		t.Fatal(err)
	}
	for j := range jobs {
		t.Errorf("still failed: %+v", j)
	}
	o.Resume = Failed
	if _, sum, _ = run(t, o, values(t, tmpl, "a", "f\n1", "f2")); sum.Skipped != 3 {
		t.Errorf("%+v", sum)
	}
}

// A log of GNU parallel's can be retried, but not resumed.
func TestForeignLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	const text = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n" +
		"1\t:\t1795529814.009\t     0.000\t0\t0\t0\t9\tkill -9 $$\n" +
		"2\t:\t1795529814.011\t     0.002\t0\t0\t0\t0\ttrue\n" +
		"3\t:\t1795529814.015\t     0.000\t0\t0\t3\t0\techo again\n" +
		"4\t:\t1795529814.015\t     0.000\t0\t0\t3\t0\techo torn"
	if err := os.WriteFile(log, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := New(Options{JobLog: log, Resume: Unfinished})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Each(t.Context(), commands("true"), nil); err == nil || !strings.Contains(err.Error(), "--retry-failed") {
		t.Errorf("resume: %v", err)
	}
	jobs, err := FailedJobs(log)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for j := range jobs {
		got = append(got, j.Command.Text)
	}
	if fmt.Sprint(got) != "[kill -9 $$ echo again]" {
		t.Errorf("%q", got)
	}
}

// With KeepOrder, a job whose output waits in the spool has ended: a run that
// is resumed delivers it and does not run it again, in this order or in none.
func TestResumeDeliversSpool(t *testing.T) {
	for _, keep := range []bool{true, false} {
		dir := t.TempDir()
		log, done := filepath.Join(dir, "log"), filepath.Join(dir, "done")
		tmpl := "echo {} >> " + done + "; echo out {}"
		id := map[string]journal.ID{}
		seen := make(journal.Occurrences)
		parsed, _ := ParseTemplate([]string{tmpl})
		for _, v := range []string{"a", "b", "c"} {
			id[v] = seen.Next(journal.KeyOf(parsed.String(), []string{v}, ""))
		}
		// What a run leaves that was killed while the first job ran and the second
		// had ended.
		sp, err := newSpool(log+".spool", "", false)
		if err != nil {
			t.Fatal(err)
		}
		out := buffer{}
		out.Write([]byte("out b\n"))
		offset, err := sp.put(&Result{Seq: 2, Values: []string{"b"}, Report: Report{Reason: Exited}, stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		sp.file.Close()
		j, err := journal.Open(log+".journal", false)
		if err != nil {
			t.Fatal(err)
		}
		j.Start(id["a"], 1)
		j.Start(id["b"], 2)
		j.End(id["b"], journal.State{Seq: 2, Spooled: true, Offset: offset})
		j.Close()

		o := Options{Slots: 2, JobLog: log, Resume: Unfinished, KeepOrder: keep}
		got, sum, err := run(t, o, values(t, tmpl, "a", "b", "c"))
		if err != nil || len(got) != 3 || sum.Skipped != 1 || strings.Contains(ran(t, done), "b") {
			t.Fatalf("%d results, %+v, %v, ran %q", len(got), sum, err, ran(t, done))
		}
		outs := map[int]string{}
		for i, g := range got {
			outs[g.Seq] = g.out
			if keep && g.Seq != i+1 {
				t.Errorf("job %d in place %d", g.Seq, i+1)
			}
		}
		if outs[2] != "out b\n" {
			t.Errorf("outputs %v", outs)
		}
		// Delivered once: another run has nothing to do and nothing to say.
		if got, _, _ := run(t, o, values(t, tmpl, "a", "b", "c")); len(got) != 0 {
			t.Errorf("delivered again: %+v", got)
		}
		if _, err := os.Stat(log + ".spool"); err == nil {
			t.Error("the spool is left")
		}
	}
}

// A spool record that was damaged is a job that has not ended.
func TestDamagedSpool(t *testing.T) {
	sp, err := newSpool(filepath.Join(t.TempDir(), "spool"), "", false)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.file.Close()
	out := buffer{}
	out.Write([]byte("hello"))
	offset, err := sp.put(&Result{Values: []string{"\xff"}, Command: "c", stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	r, err := sp.get(offset)
	if err != nil || r.Values[0] != "\xff" || r.StdoutLen() != 5 {
		t.Fatalf("%+v %v", r, err)
	}
	whole := make([]byte, sp.end)
	sp.file.ReadAt(whole, 0)
	for i := range whole {
		sp.file.WriteAt([]byte{whole[i] ^ 0x55}, int64(i))
		if _, err := sp.get(offset); err == nil {
			t.Errorf("byte %d was changed and nobody noticed", i)
		}
		sp.file.WriteAt(whole[i:i+1], int64(i))
	}
	for _, bad := range []int64{-1, 1, sp.end, 1 << 60} {
		if _, err := sp.get(bad); err == nil {
			t.Errorf("offset %d was believed", bad)
		}
	}
}
