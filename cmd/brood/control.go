package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/brood-go/brood/batch"
)

// startFlags say what must hold for another job to start, and who makes room when memory runs
// short.
type startFlags struct {
	load, memFree, memSuspend, limit string
	noSwap, shuffle                  bool
}

func (f *startFlags) define(p *page) {
	s := p.section("Starts", "(a job waits until all of it holds)")
	s.string(&f.load, "load", "", "N", "fewer than N processes of the machine want to run: N as -j takes it")
	s.boolean(&f.noSwap, "noswap", "the machine is not swapping in and out at once")
	s.string(&f.memFree, "memfree", "", "SIZE", "so much memory stays free; below half of it the youngest job is ended and run again later (with a policy: a twentieth of the memory, and none is ended)")
	s.string(&f.memSuspend, "memsuspend", "", "SIZE", "so much memory stays free; below twice as much the youngest jobs stand still until there is more again")
	s.string(&f.limit, "limit", "", "COMMAND", "COMMAND ends with 0 (1: wait; 2: end the youngest job as well, and run it again later); or 'load N', 'mem SIZE', 'io PERCENT'")
}

// set turns the flags into options of the batch.
func (f *startFlags) set(o *batch.Options) (err error) {
	if f.load != "" {
		if o.Load, err = parseLoad(f.load); err != nil {
			return fmt.Errorf("--load: %w", err)
		}
	}
	o.NoSwap = f.noSwap
	if f.memFree != "" {
		if o.MemFree, err = batch.ParseSize(f.memFree); err != nil {
			return fmt.Errorf("--memfree: %w", err)
		}
		o.MemKill = o.MemFree / 2
	}
	if f.memSuspend != "" {
		if o.MemSuspend, err = batch.ParseSize(f.memSuspend); err != nil {
			return fmt.Errorf("--memsuspend: %w", err)
		}
	}
	if f.limit != "" {
		return f.setLimit(o)
	}
	return nil
}

// parseLoad reads a load as -j takes a number of jobs. 0 is next to nothing, as in GNU parallel.
func parseLoad(s string) (float64, error) {
	if v, err := strconv.ParseFloat(s, 64); err == nil && v >= 0 && s[0] != '+' {
		return max(v, 0.01), nil
	}
	n, err := batch.ParseJobs(s, batch.CPUs())
	if err != nil {
		return 0, fmt.Errorf("%q is no load: use N, N%% of the CPUs, +N or -N from their number", s)
	}
	return float64(n), nil
}

// setLimit reads --limit: a command, or one of three that are known.
func (f *startFlags) setLimit(o *batch.Options) (err error) {
	name, arg, _ := strings.Cut(f.limit, " ")
	arg = strings.TrimSpace(arg)
	switch name {
	case "load":
		if o.Load, err = parseLoad(arg); err != nil {
			return fmt.Errorf("--limit %q: %w", f.limit, err)
		}
	case "mem":
		if o.MemFree, err = batch.ParseSize(arg); err != nil {
			return fmt.Errorf("--limit %q: %w", f.limit, err)
		}
		o.MemKill = o.MemFree / 2
	case "io":
		n, err := strconv.Atoi(strings.TrimSuffix(arg, "%"))
		if err != nil || n < 1 || n > 100 {
			return fmt.Errorf("--limit %q: give the part of the time that the busiest disk may be busy, 1 to 100", f.limit)
		}
		o.DiskBusy = float64(n) / 100
	default:
		o.Limit = f.limit
	}
	return nil
}

// timeLimit is a flag that takes a duration, or N% of the median of the jobs so far.
type timeLimit struct {
	duration
	percent float64
}

// String implements pflag.Value.
func (l *timeLimit) String() string {
	if l.percent > 0 {
		return fmt.Sprintf("%g%%", l.percent)
	}
	return l.duration.String()
}

// Set implements pflag.Value.
func (l *timeLimit) Set(s string) error {
	number, ok := strings.CutSuffix(s, "%")
	if !ok {
		l.percent = 0
		return l.duration.Set(s)
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v > 0 && v <= 1e6) {
		return fmt.Errorf("%q is no share of the median running time: use a percentage, as in 200%%", s)
	}
	*l = timeLimit{percent: v}
	return nil
}

// gather reads the whole input, if that is needed: to shuffle it, or because the number of jobs must
// be known. An error of the input is an error before anything runs.
func (f *runFlags) gather(jobs iter.Seq2[batch.Job, error], o *batch.Options) (iter.Seq2[batch.Job, error], error) {
	counts := f.template != nil && f.template.NeedsTotal() || o.Tag != nil && o.Tag.NeedsTotal() || f.needsTotal()
	switch {
	case !f.shuffle && o.Halt.Percent == 0 && !counts:
		return jobs, nil
	case f.pipe && counts:
		return nil, errors.New("{##} is known when all of the input has been read, and --pipe holds one block at a time: leave it away, or use --pipe-part -a FILE")
	case f.pipe:
		return nil, errors.New("--shuf and --halt with N% need the whole input, and --pipe holds one block at a time: leave them away, or use --pipe-part -a FILE")
	}
	all, err := batch.ReadJobs(jobs)
	if err != nil {
		return nil, err
	}
	o.Total = len(all)
	if f.shuffle {
		rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	}
	return func(yield func(batch.Job, error) bool) {
		for i := range all {
			j := all[i]
			all[i] = batch.Job{} // it is the batch's to hold
			if !yield(j, nil) {
				return
			}
		}
	}, nil
}

// jobsFile is the file of -j FILE, which says how many jobs run at once and may change meanwhile.
type jobsFile struct {
	path string
	text string // as it was read last
}

// fileEvery is how often it is looked at: file systems of a network tell of no change.
const fileEvery = time.Second

// parseSlots reads -j: a number, or the name of a file that has one.
func parseSlots(s string) (n int, file *jobsFile, err error) {
	if n, err = batch.ParseJobs(s, batch.CPUs()); err == nil {
		return n, nil, nil
	}
	fi, serr := os.Stat(s)
	switch {
	case serr != nil:
		return 0, nil, fmt.Errorf("-j: %w, or the name of a file that says it", err)
	case !fi.Mode().IsRegular():
		return 0, nil, fmt.Errorf("-j %s: it is no file: name one that says how many jobs run at once, as a number", s)
	}
	file = &jobsFile{path: s}
	n, err = file.read()
	return n, file, err
}

// jobsFileMost is how much of it is read.
const jobsFileMost = 64

// read is the number that the file has. It does not wait, whatever the name is by now.
func (f *jobsFile) read() (int, error) {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("-j %s: %w", f.path, cause(err))
	}
	defer file.Close()
	if fi, err := file.Stat(); err != nil || !fi.Mode().IsRegular() {
		return 0, fmt.Errorf("-j %s: it is no file any more", f.path)
	}
	b, err := io.ReadAll(io.LimitReader(file, jobsFileMost))
	if err != nil {
		return 0, fmt.Errorf("-j %s: %w", f.path, cause(err))
	}
	f.text = strings.TrimSpace(string(b))
	if f.text == "" {
		return 0, fmt.Errorf("-j %s: the file is empty: write how many jobs run at once into it", f.path)
	}
	n, err := batch.ParseJobs(f.text, batch.CPUs())
	if err != nil {
		return 0, fmt.Errorf("-j %s: %w", f.path, err)
	}
	return n, nil
}

// follow keeps the number of slots as the file has it, until stop is called, which does not wait: a
// file system may not answer. What can't be read or meant is said once, and changes nothing. A nil
// file does nothing.
func (f *jobsFile) follow(b *batch.Batch) (stop func()) {
	if f == nil {
		return func() {}
	}
	quit := make(chan struct{})
	go func() {
		tick := time.NewTicker(fileEvery)
		defer tick.Stop()
		said := ""
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				said = f.again(b, said)
			}
		}
	}()
	return func() { close(quit) }
}

// again reads the file again. said is the last error that was told.
func (f *jobsFile) again(b *batch.Batch, said string) string {
	was := f.text
	n, err := f.read()
	switch {
	case err == nil && f.text != was:
		if err := changeSlots(b, n); err != nil {
			say("%v", err)
		}
		return ""
	case err != nil && err.Error() != said:
		say("%v; it stays as it was", err)
		return err.Error()
	}
	return said
}

// changeSlots changes how many jobs run at once.
func changeSlots(b *batch.Batch, n int) error {
	if err := b.SetSlots(n); err != nil {
		return err
	}
	useProcs(n)
	return nil
}

// moreSlots changes it by one, as a signal asks for.
func moreSlots(b *batch.Batch, by int) {
	if err := changeSlots(b, min(max(b.Slots()+by, 1), batch.Unlimited)); err != nil {
		say("%v", err)
		return
	}
	inform("%s at once from now on", count(b.Slots(), "job"))
}

// errWhole is said of flags that need the columns of an input.
var errWhole = errors.New("--retry-failed takes whole commands from the job log, without columns: leave --priority, --weight, --cpus, --mem-need, --name and --after away")
