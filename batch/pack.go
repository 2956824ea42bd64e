package batch

import (
	"fmt"
	"iter"
	"os"
	"slices"
)

// PackOptions says how many rows of the input make one job.
type PackOptions struct {
	// Rows is the most rows of a job; 0: as many as fit in a command line.
	Rows int
	// None makes a job of each row, without its values.
	None bool
	// Spread, at the end of the input, spreads the rows of the last job evenly over so many
	// jobs; 0: they stay together. A job that Rows has filled is not spread: it does not
	// wait to see whether there is more.
	Spread int
	// Size is the most bytes of a command line, with the NUL that ends it: of a command
	// for the shell, or of all arguments of one without. 0, and what is more than the system
	// can take: the system's limit.
	Size int
	// Env is the environment of jobs, which has its part in the system's limit; nil: this
	// process's.
	Env []string
}

// Pack makes jobs of the rows of an input: each of as many as the options say and a command
// line can hold. A job is yielded as soon as it is full. A row that does not fit by itself
// is a job with an Err.
func Pack(rows iter.Seq2[[]string, error], t *Template, o PackOptions) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		p := packer{t: t, o: o, yield: yield}
		p.limits()
		p.begin()
		for row, err := range rows {
			if err != nil {
				if p.emit(len(p.rows)) {
					yield(Job{}, err)
				}
				return
			}
			if !p.add(row) {
				return
			}
		}
		n := len(p.rows)
		if o.Spread > 0 && n > 1 {
			n = (n + o.Spread - 1) / o.Spread
		}
		for len(p.rows) > 0 && p.emit(min(n, len(p.rows))) {
		}
	}
}

// ReadJobs reads all jobs of an input, and gives each their number as Total. An error of the input
// is returned in place of them.
func ReadJobs(jobs iter.Seq2[Job, error]) ([]Job, error) {
	var all []Job
	for j, err := range jobs {
		if err != nil {
			return nil, err
		}
		all = append(all, j)
	}
	for i := range all {
		all[i].Total = len(all)
	}
	return all, nil
}

// packer makes jobs. rows are those of the next one.
type packer struct {
	t     *Template
	o     PackOptions
	yield func(Job, error) bool
	seq   int

	size, all int // the limits: what the user and one argument allow; of everything
	rows      [][]string
	values    []string
	meter     meter
}

// limits finds how large a command can be.
func (p *packer) limits() {
	env := p.o.Env
	if env == nil {
		env = os.Environ()
	}
	p.all = allArguments() - 4096 // the system's own, the shell's, and the variables that a job gets
	for _, v := range env {
		p.all -= len(v) + 1 + pointer
	}
	p.all = max(p.all, 1024)
	p.size = p.all
	if !p.t.argv {
		p.size = min(p.size, oneArgument)
	}
	if p.o.Size > 0 {
		p.size = min(p.size, p.o.Size)
	}
}

// pointer is what an argument takes beside its bytes.
const pointer = 8

// begin begins a job.
func (p *packer) begin() {
	p.values = nil
	p.meter.reset(p.t, Numbers{Seq: p.seq + 1, Slot: Unlimited, Total: 1e9})
}

// fits reports whether the command line of the current rows is not too long.
func (p *packer) fits() bool {
	bytes, args, largest := p.meter.measure()
	return bytes <= p.size && (!p.t.argv || bytes+args*pointer <= p.all && largest <= oneArgument)
}

// take adds a row to the current job.
func (p *packer) take(row []string) {
	p.rows = append(p.rows, row)
	p.values = append(p.values, row...)
	p.meter.grow(p.values)
}

// add adds a row, and emits a job that it makes full. False: no more are wanted.
func (p *packer) add(row []string) bool {
	if p.o.None {
		p.seq++
		return p.yield(Job{Template: p.t}, nil)
	}
	p.take(row)
	if len(p.rows) > 1 && !p.fits() {
		p.rows = p.rows[:len(p.rows)-1]
		if !p.emit(len(p.rows)) {
			return false
		}
		p.take(row)
	}
	if len(p.rows) == 1 && !p.fits() {
		bytes, _, _ := p.meter.measure()
		return p.emitFor(1, fmt.Errorf("the command line of %.50q would have %d bytes, and can have %d: shorten the command, raise -s, or give the input on standard input (--pipe)", row, bytes, p.size))
	}
	if len(p.rows) == p.o.Rows {
		return p.emit(p.o.Rows)
	}
	return true
}

// emit yields a job of the first n rows.
func (p *packer) emit(n int) bool { return p.emitFor(n, nil) }

// emitFor yields a job of the first n rows, which can't be run if there is an error.
func (p *packer) emitFor(n int, err error) bool {
	if n == 0 {
		return true
	}
	p.seq++
	job := Job{Template: p.t, Values: slices.Concat(p.rows[:n]...), Err: err}
	p.rows = slices.Delete(p.rows, 0, n)
	p.begin()
	return p.yield(job, nil)
}

// meter knows how long a command is, and how much longer with each value, without
// expanding it again. What stands for all values grows with each. What names one changes when that
// is there, once. Only what names one from the end may change with each value, and is expanded
// anew. So the cost of a job is linear in its command, but for the last kind: those times the rows.
type meter struct {
	e     expansion
	n     int // values that are counted
	words []meterWord
	named map[int][]spot // the units that name a value, by its number

	growing []int // the words with units that grow

	bytes   int // of all but the units that grow
	each    int // words that are there for each value
	largest int // of those that don't grow, or more
}

// meterWord is a word of an argument vector, or the whole text.
type meterWord struct {
	units  []unit
	each   bool  // one argument for each value
	length int   // of the units that do not grow
	grow   []int // those that do
}

// unit is a part of a word: a repeated word, a replacement string of all values, or anything else.
type unit struct {
	segs  []segment
	all   bool // it grows with each value
	end   bool // it names a value from the end
	sum   int  // of what the values take
	other int  // what the rest of it takes, in each repetition
}

// spot is where a unit is.
type spot struct{ word, unit int }

func (m *meter) reset(t *Template, at Numbers) {
	if m.words == nil {
		m.read(t)
	}
	m.e = expansion{t: t, at: at, only: -1, b: m.e.b[:0]}
	m.n, m.bytes, m.largest = 0, 0, 0
	for i := range m.words {
		w := &m.words[i]
		w.length = 0
		for j := range w.units {
			u := &w.units[j]
			u.sum, u.other = 0, m.length(u.segs, false)
			if !u.grows() {
				w.length += u.other
			}
		}
		m.bytes += w.length + 1
		m.enlarge(w)
	}
}

// read takes the words of a template.
func (m *meter) read(t *Template) {
	m.e, m.named = expansion{t: t}, make(map[int][]spot)
	if t.whole {
		m.words = []meterWord{{units: []unit{{segs: []segment{{what: value, ctx: raw}}, all: true}}}}
	}
	for _, segs := range t.segments {
		all := has(segs, value) && slices.ContainsFunc(segs, func(s segment) bool { return s.ofAll() })
		if t.argv && all && (len(segs) == 1 || t.syntax.Packing == Repeated) {
			m.words = append(m.words, meterWord{units: []unit{{segs: segs, all: true}}, each: true})
			continue
		}
		var w meterWord
		for i, s := range segs {
			u := unit{segs: segs[i : i+1], all: s.ofAll()}
			if s.what == repeated {
				u = unit{segs: s.inner, all: true}
			}
			w.units = append(w.units, u)
		}
		m.words = append(m.words, w)
	}
	for i := range m.words {
		w := &m.words[i]
		if w.each {
			m.each++
		}
		for j := range w.units {
			m.note(&w.units[j], spot{i, j})
			if w.units[j].grows() {
				w.grow = append(w.grow, j)
			}
		}
		if len(w.grow) > 0 {
			m.growing = append(m.growing, i)
		}
	}
}

// note notes which values a unit names.
func (m *meter) note(u *unit, at spot) {
	for _, s := range u.segs {
		switch {
		case s.what != value || s.n == 0:
		case s.n < 0:
			u.end = true
		case !slices.Contains(m.named[s.n], at):
			m.named[s.n] = append(m.named[s.n], at)
		}
	}
}

// grows reports whether a unit may take another length with each value.
func (u *unit) grows() bool { return u.all || u.end }

// enlarge takes a word as the largest of those that don't grow, if it is. One that has become
// shorter since then may still count.
func (m *meter) enlarge(w *meterWord) {
	if !w.each {
		m.largest = max(m.largest, w.length+1)
	}
}

// grow counts further values: all are given.
func (m *meter) grow(values []string) {
	m.e.values = values
	for ; m.n < len(values); m.n++ {
		m.e.only = m.n
		for _, i := range m.growing {
			w := &m.words[i]
			for _, j := range w.grow {
				if u := &w.units[j]; u.all {
					u.sum += m.length(u.segs, true)
				}
			}
		}
		m.e.only = -1
		for _, at := range m.named[m.n+1] {
			w := &m.words[at.word]
			u := &w.units[at.unit]
			was := u.other
			if u.other = m.length(u.segs, false); !u.grows() {
				w.length += u.other - was
				m.bytes += u.other - was
				m.enlarge(w)
			}
		}
	}
}

// length is how long the segments are that stand for all values, or the others.
func (m *meter) length(segs []segment, all bool) int {
	m.e.b = m.e.b[:0]
	for i := range segs {
		if segs[i].ofAll() == all {
			_ = m.e.add(segs[i : i+1]) // what is wrong is said when it runs
		}
	}
	return len(m.e.b)
}

// measure is how many bytes the command has, each argument with its NUL; how many
// arguments; and the largest of those that are there once, or more.
func (m *meter) measure() (bytes, args, largest int) {
	bytes, largest = m.bytes, m.largest
	for _, i := range m.growing {
		w := &m.words[i]
		length := 0
		for _, j := range w.grow {
			u := &w.units[j]
			if u.end {
				u.other = m.length(u.segs, false)
			}
			length += u.sum + u.other
			if u.all && m.n > 0 {
				length += (m.n - 1) * (u.other + 1)
			}
		}
		bytes += length
		if !w.each {
			largest = max(largest, w.length+length+1)
		}
	}
	return bytes, len(m.words) + m.each*(m.n-1), largest
}
