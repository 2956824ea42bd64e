package chart

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/brood-go/brood/sched"
)

// TextOptions say how Text draws.
type TextOptions struct {
	Width int    // columns; 0: 80
	Rows  int    // at most so many jobs; 0: 20
	Color bool   // by SGR sequences of 16 colours
	ASCII bool   // no other characters, but in names
	More  string // how to see the jobs that are left out
	// Unit is what Unit says of all charts that are to have the same axis; 0: of this one.
	Unit time.Duration
}

const (
	leastBars  = 10 // columns
	waitedCols = 9  // of the column at the right
	waitedFrom = 50 // columns, from which on it is there
	mostCPUs   = 8  // that have a row
	leastName  = 3  // columns of a name in a CPU's row, if it has as many
)

// ink is how a state looks: a character, one for ASCII, and an SGR colour.
type ink struct{ char, ascii, color string }

var inks = [...]ink{
	sched.New:     {"·", ".", "90"},
	sched.Ready:   {"·", ".", "90"},
	sched.Running: {"█", "#", "32"},
	sched.Blocked: {"~", "~", "35"},
	sched.Held:    {"░", "-", "33"},
}

// levelColors are those of the levels, from the highest down.
var levelColors = []string{"30;42", "30;46", "30;44", "37;44"}

// text draws one schedule.
type text struct {
	TextOptions
	w           *bufio.Writer
	s           *Schedule
	end         time.Duration
	label, bars int // columns
	waited      bool
}

// Text draws a schedule for a terminal: a row for each place if that is readable, one for
// each job, and the time. What the characters mean is in Legend.
func Text(w io.Writer, s *Schedule, o TextOptions) error {
	if o.Width <= 0 {
		o.Width = 80
	}
	if o.Rows <= 0 {
		o.Rows = 20
	}
	t := &text{TextOptions: o, w: bufio.NewWriter(w), s: s, end: s.end(), waited: o.Width >= waitedFrom}
	rows := s.rows()
	shown := rows[:min(len(rows), o.Rows)]
	t.layout(shown)
	if s.Title != "" {
		t.line(t.paint("1", Fit(Clean(s.Title), o.Width, t.mark())))
	}
	jobs := max(len(rows), s.Jobs)
	if jobs == len(rows) { // else who had the places is not known
		t.places(stretches(rows))
	}
	for i := range shown {
		t.job(&shown[i])
	}
	t.axis()
	if n := jobs - len(shown); n > 0 {
		more := fmt.Sprintf("%d of %d jobs are left out", n, jobs)
		if o.More != "" {
			more += ": " + o.More
		}
		t.line(more)
	}
	if s.Note != "" {
		t.line(s.Note)
	}
	return t.w.Flush()
}

// layout divides the width.
func (t *text) layout(rows []row) {
	t.label = Width(t.s.place(1))
	for i := range rows {
		t.label = max(t.label, Width(Clean(t.s.name(rows[i].job))))
	}
	t.label = min(t.label, max(t.Width/4, 3))
	room := t.Width - t.label - 1
	if t.waited {
		room -= waitedCols
	} else {
		room -= 3 // the last time at the axis
	}
	t.bars = max(room, leastBars)
	// If all begins and ends can lie on columns, let them, if possible with the axis's marks.
	unit := t.Unit
	if unit <= 0 {
		unit = Unit(t.s)
	}
	unit = gcd(t.end, unit)
	for _, u := range []time.Duration{gcd(unit, step(t.end, t.ticks())), unit} {
		if n := int64(t.end / u); n <= int64(t.bars) {
			t.bars -= t.bars % int(n)
			return
		}
	}
}

// ticks are as many marks as the axis has room for.
func (t *text) ticks() int { return max(t.bars/6, 1) }

// Unit is the time of which all begins and ends of schedules are multiples.
func Unit(schedules ...*Schedule) (unit time.Duration) {
	for _, s := range schedules {
		unit = gcd(unit, s.end())
		for _, span := range s.Spans {
			unit = gcd(unit, gcd(span.From, span.To))
		}
	}
	return unit
}

func gcd(a, b time.Duration) time.Duration {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// column is where a time is.
func (t *text) column(at time.Duration) int {
	return min(int(float64(at)/float64(t.end)*float64(t.bars)+1e-9), t.bars)
}

// places draws the classic chart, a row for each place with the jobs' names in it, if
// the names have room.
func (t *text) places(all []stretch) {
	if len(all) == 0 {
		return
	}
	n, need := all[len(all)-1].place, 0
	for i := range all {
		if all[i].from >= t.end {
			continue
		}
		need += 1 + min(Width(Clean(t.s.name(all[i].job))), leastName)
	}
	if n > mostCPUs || need > n*t.bars {
		return
	}
	for p := 1; p <= n; p++ {
		cells := slices.Repeat([]string{" "}, t.bars)
		for _, s := range all {
			if s.place == p {
				t.box(cells, &s)
			}
		}
		t.line(pad(t.s.place(p), t.label) + " " + strings.Join(cells, ""))
	}
}

// box draws one stretch: its begin and as much of the name as has room.
func (t *text) box(cells []string, s *stretch) {
	from, to := t.column(s.from), t.column(s.to)
	if from >= t.bars {
		return
	}
	cells[from] = "|"
	if to < t.bars && cells[to] == " " {
		cells[to] = "|"
	}
	at := from + 1
	for _, r := range Fit(Clean(t.s.name(s.job)), to-at, "") {
		if n := runeWidth(r); n == 0 {
			cells[at-1] += string(r)
		} else {
			cells[at] = string(r)
			for k := 1; k < n; k++ {
				cells[at+k] = ""
			}
			at += n
		}
	}
}

// cell is what a job did in a column: for how much of it in which state.
type cell struct {
	spent [len(inks)]float64
	level int
	run   float64 // of the longest stretch of running, which level is of
}

// state is that of most of the time; 0, false if the job was not there.
func (c *cell) state() (best sched.State, there bool) {
	for _, s := range []sched.State{sched.Running, sched.Blocked, sched.Held, sched.Ready, sched.New} {
		if c.spent[s] > 0 && (!there || c.spent[s] > c.spent[best]+1e-9) {
			best, there = s, true
		}
	}
	return best, there
}

// job draws a job's row.
func (t *text) job(r *row) {
	cells := make([]cell, t.bars)
	perCol := float64(t.end) / float64(t.bars)
	ran, firstRun := false, -1
	for _, s := range r.spans {
		first := min(t.column(s.From), t.bars-1)
		if s.State == sched.Running && firstRun < 0 {
			firstRun = first
		}
		for c := first; c < t.bars; c++ {
			from, to := max(float64(s.From), float64(c)*perCol), min(float64(s.To), float64(c+1)*perCol)
			if to <= from {
				break
			}
			cells[c].spent[s.State] += to - from
			if s.State == sched.Running && to-from > cells[c].run {
				cells[c].run, cells[c].level = to-from, s.Level
			}
		}
	}
	states := make([]sched.State, t.bars)
	for c := range cells {
		states[c] = sched.Done
		if s, there := cells[c].state(); there {
			states[c] = s
			ran = ran || s == sched.Running
		}
	}
	if !ran && firstRun >= 0 { // however short: it did
		states[firstRun] = sched.Running
	}
	line := pad(Fit(Clean(t.s.name(r.job)), t.label, t.mark()), t.label) + " " + t.bar(states, cells)
	if t.waited {
		line += fmt.Sprintf("%*s", waitedCols, Duration(r.waited()))
	}
	t.line(line)
}

// bar is a row's bar, each colour switched on once.
func (t *text) bar(states []sched.State, cells []cell) string {
	var b strings.Builder
	color := ""
	for c, state := range states {
		char, want := " ", ""
		if state != sched.Done {
			char, want = t.char(state, cells[c].level)
		}
		if t.Color && want != color {
			b.WriteString("\x1b[0")
			if want != "" {
				b.WriteString(";" + want)
			}
			b.WriteString("m")
			color = want
		}
		b.WriteString(char)
	}
	if color != "" {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// char is a state's character and colour. Where there are levels, who runs shows its own.
func (t *text) char(state sched.State, level int) (char, color string) {
	if t.s.Levels && state == sched.Running {
		return string("0123456789+"[min(max(level, 0), 10)]), levelColors[min(max(level, 0), len(levelColors)-1)]
	}
	i := inks[state]
	if t.ASCII {
		return i.ascii, i.color
	}
	return i.char, i.color
}

// axis draws the time.
func (t *text) axis() {
	rule, corner := "─", "┴"
	if t.ASCII {
		rule, corner = "-", "+"
	}
	every := step(t.end, t.ticks())
	marks := slices.Repeat([]string{rule}, t.bars+1)
	var names strings.Builder
	for at := time.Duration(0); ; at += every {
		c := t.column(at)
		marks[c] = corner
		label := tick(at, t.end)
		if (at == 0 || names.Len() < c) && t.label+1+c+len(label) <= t.Width {
			names.WriteString(strings.Repeat(" ", c-names.Len()) + label)
		}
		if at > t.end-every {
			break
		}
	}
	left := strings.Repeat(" ", t.label+1)
	line := left + strings.Join(marks, "")
	if t.waited {
		line += fmt.Sprintf("%*s", waitedCols-1, "waited")
	}
	t.line(line)
	t.line(left + names.String())
}

// mark is the end of a name that was cut off.
func (t *text) mark() string { return ellipsis(t.ASCII) }

func ellipsis(ascii bool) string {
	if ascii {
		return "~"
	}
	return "…"
}

func (t *text) paint(color, s string) string {
	if t.Color {
		return "\x1b[" + color + "m" + s + "\x1b[0m"
	}
	return s
}

// line writes a line without blanks at its end.
func (t *text) line(s string) { t.w.WriteString(strings.TrimRight(s, " ") + "\n") }

// Legend says what the characters of Text mean. levels: some of the charts have levels.
func Legend(w io.Writer, o TextOptions, levels bool) error {
	t := &text{TextOptions: o, s: &Schedule{}}
	var words []string
	for _, s := range []sched.State{sched.Running, sched.Ready, sched.Held, sched.Blocked} {
		char, color := t.char(s, 0)
		words = append(words, t.paint(color, char)+" "+word(s))
	}
	if levels {
		t.s.Levels = true
		var all string
		for level := range 3 {
			char, color := t.char(sched.Running, level)
			all += t.paint(color, char)
		}
		words = append(words, all+" running at a level, 0 the highest")
	}
	line, used := "", 0
	for _, word := range words {
		n := Width(plain(word)) + 2
		if used > 0 && used+n-2 > max(o.Width, leastBars) {
			line, used = strings.TrimRight(line, " ")+"\n", 0
		}
		line += word + "  "
		used += n
	}
	_, err := io.WriteString(w, strings.TrimRight(line, " ")+"\n")
	return err
}

// plain is a string without SGR sequences.
func plain(s string) string {
	for {
		from := strings.Index(s, "\x1b[")
		if from < 0 {
			return s
		}
		to := strings.IndexByte(s[from:], 'm')
		s = s[:from] + s[from+to+1:]
	}
}
