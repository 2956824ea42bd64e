package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/sched"
)

// A run that does not end does not fill the memory: what came first is kept, and the files
// say so.
func TestTraceIsBounded(t *testing.T) {
	dir := t.TempDir()
	o := batch.Options{Slots: 2, Policy: &sched.MLFQ{}, Degree: 5}
	x, err := newTracer(filepath.Join(dir, "trace"), filepath.Join(dir, "svg"), &o)
	if err != nil {
		t.Fatal(err)
	}
	x.most = 8
	for job := range sched.Job(4) {
		at := time.Duration(job) * time.Second
		for i, c := range []sched.Change{{State: sched.New}, {State: sched.Ready}, {State: sched.Running, Place: 1}, {State: sched.Done}} {
			c.Job, c.At = job+1, at+time.Duration(i)*100*time.Millisecond
			o.Trace(c)
		}
		x.delivered(&batch.Result{Seq: int(job) + 1, Command: "echo \xff" + strings.Repeat("x", 1000)})
	}
	if err := x.write(time.Hour); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Other map[string]string `json:"otherData"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	const note = "The first 8 changes, up to 2s, are shown; 8 after that are left out."
	if f.Other["note"] != note || len(x.changes) != 8 {
		t.Errorf("%q, %d changes", f.Other["note"], len(x.changes))
	}
	svg, err := os.ReadFile(filepath.Join(dir, "svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{note, ">2s</text>", ">mlfq, 2 slots, up to 5 processes</text>", ">2: echo", ">jobs </tspan><tspan class=\"fig\">2<"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %s in the picture", want)
		}
	}
	if strings.Contains(string(svg), ">3: ") || len(svg) > 20_000 {
		t.Errorf("%d bytes:\n%s", len(svg), svg)
	}
}

// What was in a file is replaced, and only when there is something to say.
func TestOutputsReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(path, []byte(strings.Repeat("old", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := batch.Options{Slots: 1}
	x, err := newTracer(path, "", &o)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); len(b) != 30_000 {
		t.Errorf("%d bytes before the end", len(b))
	}
	if err := x.write(0); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); !json.Valid(b) {
		t.Errorf("%q", b)
	}
	if x, err := newTracer("", "", &o); x != nil || err != nil || x.write(0) != nil {
		t.Error("a tracer for nothing")
	}
}

// The outcomes of a real run, by hand: job 1 waits 1 s, runs 2, is blocked 1, is paused 1, runs
// 1; job 2 never runs.
func TestOutcomes(t *testing.T) {
	at := func(s int, job sched.Job, state sched.State) sched.Change {
		return sched.Change{At: time.Duration(s) * time.Second, Job: job, State: state}
	}
	got := outcomes([]sched.Change{
		at(0, 1, sched.New), at(0, 2, sched.New), at(1, 1, sched.Running), at(3, 1, sched.Blocked), at(4, 1, sched.Held), at(5, 1, sched.Running), at(6, 1, sched.Done),
	}, 8*time.Second)
	want := []sched.Outcome{
		{First: time.Second, End: 6 * time.Second, CPU: 3 * time.Second, Blocked: time.Second, Waiting: 2 * time.Second},
		{First: -1, End: 8 * time.Second, Waiting: 8 * time.Second},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
