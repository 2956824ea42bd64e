package chart

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/brood-go/brood/sched"
)

// TraceEvents writes schedules in the Trace Event format, which Perfetto (ui.perfetto.dev)
// and chrome://tracing open: two processes for each schedule.
//
//   - The first one, "slots", has a thread for each place, and on it a complete event (X)
//     for each time that a job had the place; in it lie those of the states that it went
//     through there, if there was more than running. Its counter "jobs" tells how many
//     were in which state.
//   - The second one, "waiting", has what is without a place, on as few threads as hold
//     it without overlaps.
//
// Times are in microseconds with three decimals, so nothing is rounded. meta is said in
// the object's otherData.
func TraceEvents(w io.Writer, schedules []Schedule, meta map[string]string) error {
	t := &events{w: bufio.NewWriterSize(w, 64<<10)}
	if meta == nil {
		meta = map[string]string{}
	}
	head, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.w, `{"displayTimeUnit":"ms","otherData":%s,"traceEvents":[`, head)
	for i := range schedules {
		s := &schedules[i]
		prefix := ""
		if len(schedules) > 1 {
			prefix = s.Title + ": "
		}
		t.schedule(s, prefix, 2*i+1)
	}
	if t.err != nil {
		return t.err
	}
	t.w.WriteString("\n]}\n")
	return t.w.Flush()
}

// event is one of the format's. Fields that a kind of event does not have are left out.
type event struct {
	Phase string          `json:"ph"`
	PID   int             `json:"pid"`
	TID   int             `json:"tid"`
	TS    micros          `json:"ts"`
	Dur   *micros         `json:"dur,omitempty"`
	Name  string          `json:"name"`
	Cat   string          `json:"cat,omitempty"`
	Color string          `json:"cname,omitempty"`
	Args  json.RawMessage `json:"args,omitempty"`
}

// micros is a time as the format has it.
type micros time.Duration

// MarshalJSON implements json.Marshaler.
func (m micros) MarshalJSON() ([]byte, error) {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	if m%1000 == 0 {
		return fmt.Appendf(nil, "%s%d", sign, m/1000), nil
	}
	return fmt.Appendf(nil, "%s%d.%03d", sign, m/1000, m%1000), nil
}

// cnames are colours that chrome://tracing knows; Perfetto takes its own.
var cnames = [...]string{
	sched.New:     "grey",
	sched.Ready:   "generic_work",
	sched.Running: "thread_state_running",
	sched.Blocked: "thread_state_iowait",
	sched.Held:    "thread_state_runnable",
}

// events writes the list.
type events struct {
	w   *bufio.Writer
	n   int
	err error
}

// add writes one event in a line.
func (t *events) add(e event) {
	if t.err != nil {
		return
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.err = err
		return
	}
	if t.n++; t.n > 1 {
		t.w.WriteByte(',')
	}
	t.w.WriteByte('\n')
	_, t.err = t.w.Write(b)
}

// label names a process or a thread, and says where it is in the list.
func (t *events) label(what string, pid, tid int, name string, index int) {
	t.add(event{Phase: "M", PID: pid, TID: tid, Name: what + "_name", Args: args("name", name)})
	t.add(event{Phase: "M", PID: pid, TID: tid, Name: what + "_sort_index", Args: args("sort_index", index)})
}

// args is an object of names and values in turns.
func args(pairs ...any) json.RawMessage {
	b := []byte{'{'}
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		name, _ := json.Marshal(pairs[i])
		value, _ := json.Marshal(pairs[i+1])
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}')
}

// complete writes an X event.
func (t *events) complete(pid, tid int, from, to time.Duration, name, cat, color string, a json.RawMessage) {
	d := micros(to - from)
	t.add(event{Phase: "X", PID: pid, TID: tid, TS: micros(from), Dur: &d, Name: name, Cat: cat, Color: color, Args: a})
}

// schedule writes one schedule as the processes pid and pid+1.
func (t *events) schedule(s *Schedule, prefix string, pid int) {
	t.label("process", pid, 0, prefix+"slots", pid)
	rows := s.rows()
	all := stretches(rows)
	l := lanes{t: t, pid: pid, name: s.place}
	for i := range all {
		if i == 0 || all[i].place != all[i-1].place {
			l.begin(all[i].place)
		}
		t.onPlace(s, pid, l.put(all[i].from, all[i].to), &all[i])
	}
	t.counts(s, pid)

	t.label("process", pid+1, 0, prefix+"waiting", pid+1)
	l = lanes{t: t, pid: pid + 1, name: func(n int) string { return fmt.Sprintf("waiting %d", n) }}
	spans := s.Spans
	byBegin := func(a, b sched.Span) int { return cmp.Compare(a.From, b.From) }
	if !slices.IsSortedFunc(spans, byBegin) {
		spans = slices.SortedStableFunc(slices.Values(spans), byBegin)
	}
	for _, span := range spans {
		if place(&span) == 0 {
			tid := l.put(span.From, span.To)
			t.complete(pid+1, tid, span.From, span.To, s.short(span.Job), "wait", cnames[span.State], t.args(s, &span))
		}
	}
}

// short is a job's name of a length that is read.
func (s *Schedule) short(j sched.Job) string { return Fit(Clean(s.name(j)), 60, "…") }

// args are what is told of a span.
func (t *events) args(s *Schedule, span *sched.Span) json.RawMessage {
	pairs := []any{"job", span.Job, "state", span.State.String()}
	if name := s.name(span.Job); name != s.short(span.Job) {
		pairs = append(pairs, "name", Fit(name, 1000, "…"))
	}
	if s.Levels {
		pairs = append(pairs, "level", span.Level)
	}
	return args(pairs...)
}

// onPlace writes a stretch on a place, and in it the states.
func (t *events) onPlace(s *Schedule, pid, tid int, st *stretch) {
	first := &st.spans[0]
	if len(st.spans) == 1 {
		t.complete(pid, tid, st.from, st.to, s.short(st.job), "job", cnames[first.State], t.args(s, first))
		return
	}
	whole := *first
	whole.State = sched.Running
	t.complete(pid, tid, st.from, st.to, s.short(st.job), "job", cnames[sched.Running], t.args(s, &whole))
	for i := range st.spans {
		span := &st.spans[i]
		name := span.State.String()
		if s.Levels {
			name += fmt.Sprintf(", level %d", span.Level)
		}
		t.complete(pid, tid, span.From, span.To, name, "state", cnames[span.State], t.args(s, span))
	}
}

// counts writes the counter: how many jobs are in which state, whenever that changes.
func (t *events) counts(s *Schedule, pid int) {
	type edge struct {
		at    time.Duration
		state sched.State
		by    int
	}
	edges := make([]edge, 0, 2*len(s.Spans))
	for _, span := range s.Spans {
		edges = append(edges, edge{span.From, span.State, 1}, edge{span.To, span.State, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var now, told [4]int // running, blocked, paused, waiting
	for i, e := range edges {
		k := 3
		switch e.state {
		case sched.Running:
			k = 0
		case sched.Blocked:
			k = 1
		case sched.Held:
			k = 2
		}
		now[k] += e.by
		if i+1 < len(edges) && edges[i+1].at == e.at || now == told {
			continue
		}
		told = now
		t.add(event{Phase: "C", PID: pid, TS: micros(e.at), Name: "jobs",
			Args: args("running", now[0], "blocked", now[1], "paused", now[2], "waiting", now[3])})
	}
}

// lanes are threads on which nothing overlaps. What is put comes in the order of begins.
type lanes struct {
	t    *events
	pid  int
	name func(int) string
	next int // number of the last lane
	free laneHeap
	busy laneHeap
	main int // of a place: the lane that has its number
}

// extra is where the numbers of lanes begin that a place needs beside its own: that of
// a schedule that has two jobs on one place, which the format can't show on one thread.
const extra = 1_000_000

// begin makes a place's lane the only one.
func (l *lanes) begin(place int) {
	l.free, l.busy, l.main = nil, nil, place
	l.t.label("thread", l.pid, place, l.name(place), place)
	l.free = laneHeap{{0, place}}
}

// put finds a lane for a time.
func (l *lanes) put(from, to time.Duration) (tid int) {
	for len(l.busy) > 0 && l.busy[0].key <= from {
		x := heap.Pop(&l.busy).(lane)
		heap.Push(&l.free, lane{time.Duration(x.tid), x.tid})
	}
	if len(l.free) > 0 {
		tid = heap.Pop(&l.free).(lane).tid
	} else {
		l.next++
		tid = l.next
		name := l.main
		if l.main > 0 {
			tid += extra
		} else {
			name = tid
		}
		l.t.label("thread", l.pid, tid, l.name(name), name)
	}
	heap.Push(&l.busy, lane{to, tid})
	return tid
}

// lane is a thread and what it is sorted by: the end of what is on it, or its number.
type lane struct {
	key time.Duration
	tid int
}

// laneHeap implements heap.Interface.
type laneHeap []lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].key < h[j].key }
func (h laneHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *laneHeap) Push(x any)        { *h = append(*h, x.(lane)) }
func (h *laneHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
