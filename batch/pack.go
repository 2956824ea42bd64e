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
// expanding it again: the cost of a job is linear in its values.
type meter struct {
	e     expansion
	n     int // values that are counted
	words []meterWord
}

// meterWord is a word of an argument vector, or the whole text.
type meterWord struct {
	units []unit
	each  bool // one argument for each value
}

// unit is a part of a word: a repeated word, a replacement string of all values, or anything else.
type unit struct {
	segs []segment
	all  bool // it grows with each value
	sum  int  // of what the values take
}

func (m *meter) reset(t *Template, at Numbers) {
	b := m.e.b[:0]
	*m = meter{e: expansion{t: t, at: at, only: -1, b: b}, words: m.words}
	if m.words != nil {
		for i := range m.words {
			for j := range m.words[i].units {
				m.words[i].units[j].sum = 0
			}
		}
		return
	}
	if t.whole {
		m.words = []meterWord{{units: []unit{{segs: []segment{{what: value, ctx: raw}}, all: true}}}}
		return
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
}

// grow counts further values: all are given.
func (m *meter) grow(values []string) {
	m.e.values = values
	for ; m.n < len(values); m.n++ {
		m.e.only = m.n
		for i := range m.words {
			for j := range m.words[i].units {
				if u := &m.words[i].units[j]; u.all {
					u.sum += m.length(u.segs, true)
				}
			}
		}
	}
	m.e.only = -1
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
// arguments; and the largest of those that grow.
func (m *meter) measure() (bytes, args, largest int) {
	for _, w := range m.words {
		length := 0
		for _, u := range w.units {
			length += u.sum
			switch {
			case !u.all:
				length += m.length(u.segs, false)
			case m.n > 0:
				length += m.n*m.length(u.segs, false) + m.n - 1
			default:
				length += m.length(u.segs, false)
			}
		}
		bytes += length + 1
		if w.each {
			args += m.n
		} else {
			args++
			largest = max(largest, length+1)
		}
	}
	return bytes, args, largest
}
