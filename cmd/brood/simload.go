package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"golang.org/x/term"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/chart"
	"github.com/brood-go/brood/internal/journal"
	"github.com/brood-go/brood/sched"
)

// load is the workload of brood sim.
type load struct {
	w       sched.Workload
	from    string // where it comes from, in a few words
	cpus    int    // that it is for; 0: nothing is known
	example bool
}

// name is what a job is called in charts.
func (l *load) name(j sched.Job) string {
	if n := l.w[j-1].Name; n != "" {
		return n
	}
	return fmt.Sprint(j)
}

// example shows the differences in one screen: a long job in front, short ones behind it,
// and one that waits in between.
func example() sched.Workload {
	const s = time.Second
	return sched.Workload{
		{Name: "A", Bursts: []time.Duration{8 * s}, Expect: 5 * s},
		{Name: "B", Arrive: 1 * s, Bursts: []time.Duration{4 * s}, Expect: 4 * s},
		{Name: "C", Arrive: 2 * s, Bursts: []time.Duration{1 * s, 2 * s, 1 * s}, Expect: 6 * s},
		{Name: "D", Arrive: 3 * s, Bursts: []time.Duration{2 * s}, Expect: 2 * s, Priority: 1},
		{Name: "E", Arrive: 9 * s, Bursts: []time.Duration{4 * s}, Expect: 3 * s},
	}
}

// spec is what a generated workload begins with.
var spec = regexp.MustCompile(`^\s*(jobs|load|sizes|wait|bursts|seed)=`)

// jobLogHead begins a job log.
const jobLogHead = "Seq\tHost\tStarttime"

// nameColumns are those of a command's name.
const nameColumns = 40

// readLoad reads --workload.
func (r *simRun) readLoad(stdin io.Reader) (l *load, err error) {
	if r.workload == "" {
		l = &load{w: example(), from: "the built-in example", example: true}
	} else if _, serr := os.Stat(r.workload); serr != nil && spec.MatchString(r.workload) {
		return r.generate()
	} else {
		l, err = readLoadFile(r.workload, stdin)
	}
	if err == nil && r.seeded {
		err = fmt.Errorf("--seed %d: chance is only in generated jobs, as of --workload jobs=300", r.seed)
	}
	return l, err
}

// generate makes jobs by chance.
func (r *simRun) generate() (*load, error) {
	g, err := sched.ParseGenerator(r.workload, max(r.cpus, 1))
	if err != nil {
		return nil, fmt.Errorf("--workload: %w", bare(err))
	}
	if r.seeded {
		g.Seed = r.seed
	}
	w, err := g.Generate()
	if err != nil {
		return nil, fmt.Errorf("--workload: %w", bare(err))
	}
	return &load{w: w, from: chart.Clean(r.workload)}, nil
}

// readLoadFile reads a file, or standard input.
func readLoadFile(path string, stdin io.Reader) (*load, error) {
	var data []byte
	var err error
	if path == "-" {
		if f, ok := stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			note("the workload is read from the terminal, up to Ctrl-D")
		}
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("--workload %s: %w: name a file, or say what is to be generated, as in jobs=300", path, cause(err))
	}
	l := &load{from: chart.Clean(path)}
	if path == "-" {
		l.from = "standard input"
	}
	if bytes.HasPrefix(data, []byte(jobLogHead)) {
		l.cpus = batch.CPUs()
		l.w, err = replay(data, path)
	} else {
		l.w, err = sched.ParseWorkload(data)
	}
	if err != nil {
		return nil, fmt.Errorf("--workload %s: %w", path, bare(err))
	}
	return l, nil
}

// replay makes jobs of those in a job log: all there at the start, each computing for
// as long as it ran.
func replay(data []byte, name string) (w sched.Workload, err error) {
	for row, err := range journal.ReadLogFrom(bytes.NewReader(data), name) {
		if err != nil {
			return nil, err
		}
		if row.Runtime < 0 {
			return nil, fmt.Errorf("job %d of the job log ran for %v", row.Seq, row.Runtime)
		}
		w = append(w, sched.Work{Name: chart.Fit(chart.Clean(row.Command), nameColumns, "…"), Bursts: []time.Duration{row.Runtime}, Expect: row.Runtime})
	}
	if len(w) == 0 {
		return nil, fmt.Errorf("no job of the job log has ended: there is nothing to simulate")
	}
	return w, nil
}
