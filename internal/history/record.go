package history

import (
	"encoding/binary"
	"errors"
	"time"
)

// weight is that of the last run in a job's mean, once there were enough of them.
const weight = 0.25

// jobRecord is what is kept of a job: durations in microseconds, times in
// milliseconds since 1970, memory in bytes.
type jobRecord struct {
	runs              uint64
	wall, cpu, memory int64
	seen              int64
	values            []byte
}

// bare is the record without the values.
func (j jobRecord) bare() jobRecord {
	j.values = nil
	return j
}

// add takes a run into account. The first runs weigh the same, so that the first of
// all does not stay for long. Memory is rather too much than too little: it grows at
// once and shrinks slowly.
func (j *jobRecord) add(r *run) {
	j.runs++
	w := max(weight, 1/float64(j.runs))
	j.wall += int64(w * float64(r.Wall.Microseconds()-j.wall))
	j.cpu += int64(w * float64(r.CPU.Microseconds()-j.cpu))
	if r.Memory > 0 {
		j.memory = max(r.Memory, j.memory+int64(weight*float64(r.Memory-j.memory)))
	}
	j.seen = max(j.seen, r.at)
	j.values = r.values
}

func (j *jobRecord) estimate() Estimate {
	return Estimate{measure(j.wall, j.cpu, j.memory), int(j.runs)}
}

func measure(wall, cpu, memory int64) Measure {
	return Measure{time.Duration(wall) * time.Microsecond, time.Duration(cpu) * time.Microsecond, memory}
}

func (j *jobRecord) encode() []byte {
	b := make([]byte, 0, 32+len(j.values))
	b = appendInts(b, int64(j.runs), j.wall, j.cpu, j.memory, j.seen)
	return append(b, j.values...)
}

func decodeJob(b []byte) (j jobRecord, err error) {
	d := decoder{b: b}
	j.runs = uint64(d.int())
	for _, p := range []*int64{&j.wall, &j.cpu, &j.memory, &j.seen} {
		*p = d.int()
	}
	j.values = d.b
	return j, d.err
}

// groupRecord is what is kept of a group. The sums are those of its jobs' means, so
// that a job that is often run weighs no more than others.
type groupRecord struct {
	jobs, runs        uint64
	wall, cpu, memory int64
	measured          uint64 // jobs whose memory is known
	total             int64  // of all runs ever
	seen              int64
	last              Batch
	text, dir         string
}

// replace takes a job's new record into account; the old one is zero for a new job.
func (g *groupRecord) replace(before, after *jobRecord) {
	g.wall += after.wall - before.wall
	g.cpu += after.cpu - before.cpu
	g.memory += after.memory - before.memory
	g.jobs += one(after.runs) - one(before.runs)
	g.measured += one(uint64(after.memory)) - one(uint64(before.memory))
}

// one is 1 if there is any.
func one(n uint64) uint64 { return min(n, 1) }

func (g *groupRecord) estimate() Estimate {
	n := int64(max(g.jobs, 1))
	return Estimate{measure(g.wall/n, g.cpu/n, g.memory/int64(max(g.measured, 1))), int(g.runs)}
}

func (g *groupRecord) encode() []byte {
	b := make([]byte, 0, 64+len(g.text)+len(g.dir))
	b = appendInts(b, int64(g.jobs), int64(g.runs), g.wall, g.cpu, g.memory, int64(g.measured), g.total, g.seen, int64(g.last.Jobs), int64(g.last.Wall))
	for _, s := range []string{g.text, g.dir} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func decodeGroup(b []byte) (g groupRecord, err error) {
	d := decoder{b: b}
	g.jobs, g.runs = uint64(d.int()), uint64(d.int())
	g.wall, g.cpu, g.memory = d.int(), d.int(), d.int()
	g.measured = uint64(d.int())
	g.total, g.seen = d.int(), d.int()
	g.last.Jobs, g.last.Wall = int(d.int()), time.Duration(d.int())
	g.text, g.dir = d.text(), d.text()
	return g, d.err
}

func appendInts(b []byte, v ...int64) []byte {
	for _, n := range v {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

var errRecord = errors.New("a record that can't be read")

// decoder reads what encode wrote. After an error it reads zeros.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) int() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || int64(v) < 0 { // nothing here is negative
		d.b, d.err = nil, errRecord
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

func (d *decoder) text() string {
	n := d.int()
	if n > int64(len(d.b)) {
		d.b, d.err = nil, errRecord
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// unpackValues is the reverse of packValues.
func unpackValues(b []byte) ([]string, error) {
	values := []string{}
	d := decoder{b: b}
	for len(d.b) > 0 {
		values = append(values, d.text())
	}
	return values, d.err
}
