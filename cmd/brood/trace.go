package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/chart"
	"github.com/brood-go/brood/sched"
)

// mostChanges bounds the memory of a run that does not end.
const mostChanges = 1_000_000

// tracer keeps what the jobs of a run did, for --trace and --svg. A nil one does nothing.
type tracer struct {
	files  outputs
	slots  int
	title  string
	levels bool // the policy has some

	mu      sync.Mutex
	most    int
	changes []sched.Change
	names   map[sched.Job]string
	full    time.Duration // when there was no more room
	left    int           // changes after that
}

// newTracer opens the files and sets itself as the batch's Trace; nil if no file is
// asked for.
func newTracer(trace, svg string, o *batch.Options) (*tracer, error) {
	files, err := openOutputs(trace, svg)
	if err != nil || !files.any() {
		return nil, err
	}
	t := &tracer{files: files, slots: o.Slots, title: count(o.Slots, "slot"), most: mostChanges, names: make(map[sched.Job]string)}
	if o.Policy != nil {
		t.title = o.Policy.String() + ", " + t.title
		_, t.levels = o.Policy.(sched.Leveler)
	}
	if o.Degree > 0 {
		t.title += fmt.Sprintf(", up to %d processes", o.Degree)
	}
	o.Trace = t.change
	return t, nil
}

// change is batch.Options.Trace: it does not block.
func (t *tracer) change(c sched.Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.changes) >= t.most {
		if t.left == 0 {
			t.full = c.At
		}
		t.left++
		return
	}
	t.changes = append(t.changes, c)
}

// delivered takes a job's name.
func (t *tracer) delivered(res *batch.Result) {
	if t == nil {
		return
	}
	name := strings.Join(res.Values, " ")
	if name == "" {
		name = res.Command
	}
	if len(name) > 300 {
		name = strings.ToValidUTF8(name[:300], "") + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.names) < t.most {
		t.names[sched.Job(res.Seq)] = fmt.Sprintf("%d: %s", res.Seq, name)
	}
}

// name is what a job is called.
func (t *tracer) name(j sched.Job) string {
	if n, ok := t.names[j]; ok {
		return n
	}
	return fmt.Sprint(j)
}

// write writes the files. end is when the run ended, since its start.
func (t *tracer) write(end time.Duration) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.changes[max(len(t.changes)-1, 0):] {
		end = max(end, c.At)
	}
	meta := map[string]string{"made by": "brood " + version()}
	note := ""
	if t.left > 0 {
		end = t.full
		note = fmt.Sprintf("The first %d changes, up to %s, are shown; %d after that are left out.", len(t.changes), chart.Duration(end), t.left)
		meta["note"] = note
		inform("--trace and --svg keep the first %d changes of jobs, up to %s; %d after that are left out", len(t.changes), chart.Duration(end), t.left)
	}
	s := chart.Schedule{
		Title: t.title, Spans: sched.Spans(t.changes, end), Name: t.name, End: end, Place: "slot", Note: note, Levels: t.levels,
	}
	s.Figures = figures(t.changes, end, t.slots)
	return t.files.write(chart.Document{Title: "brood run", Schedules: []chart.Schedule{s}}, meta)
}

// figures are what a picture of a run tells of it.
func figures(changes []sched.Change, end time.Duration, slots int) []chart.Figure {
	s := sched.Summarise(outcomes(changes, end), slots)
	return []chart.Figure{
		{Name: "jobs", Value: fmt.Sprint(s.Jobs)},
		{Name: "mean waiting", Value: chart.Duration(s.Waiting.Mean)},
		{Name: "max waiting", Value: chart.Duration(s.Waiting.Max)},
		{Name: "mean turnaround", Value: chart.Duration(s.Turnaround.Mean)},
		{Name: "makespan", Value: chart.Duration(s.Makespan)},
		{Name: "slots in use", Value: decimals(s.CPUUse*100) + "%"},
	}
}

// outcomes are what became of the jobs; their time on a place counts as CPU time.
func outcomes(changes []sched.Change, end time.Duration) []sched.Outcome {
	at := make(map[sched.Job]int)
	var all []sched.Outcome
	job := func(j sched.Job, arrive time.Duration) *sched.Outcome {
		i, ok := at[j]
		if !ok {
			i = len(all)
			at[j] = i
			all = append(all, sched.Outcome{Arrive: arrive, First: -1})
		}
		return &all[i]
	}
	for _, s := range sched.Spans(changes, end) {
		o := job(s.Job, s.From)
		o.End = max(o.End, s.To)
		switch s.State {
		case sched.Running:
			if o.First < 0 {
				o.First = s.From
			}
			o.CPU += s.To - s.From
		case sched.Blocked:
			o.Blocked += s.To - s.From
		default:
			o.Waiting += s.To - s.From
		}
	}
	return all
}
