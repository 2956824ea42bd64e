package main

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"os"
	"sync"
	"syscall"

	"github.com/brood-go/brood/batch"
)

// printer takes the results of a batch and writes them.
type printer struct {
	flags       *runFlags
	json        bool
	results     *results // nil without --results
	recorder    *recorder
	tracer      *tracer // nil without --trace and --svg
	progress    *progress
	interrupted func() // with --tty: a job was ended by Ctrl-C
	terminate   func() // the batch

	mu       sync.Mutex
	startErr error // the first one of started
}

// deliver writes one result. It is called for one at a time.
func (p *printer) deliver(r *batch.Result) error {
	p.recorder.add(r)
	p.tracer.delivered(r)
	p.progress.clear()
	if r.Err != nil && (r.Reason == batch.NotStarted || r.Reason == batch.Skipped || errors.Is(r.Err, batch.ErrInput)) {
		say("job %d: %v", r.Seq, r.Err)
	}
	if p.flags.tty && r.Signal == syscall.SIGINT {
		p.interrupted()
	}
	if p.results != nil {
		if err := p.results.save(r); err != nil {
			return err
		}
	}
	if p.json {
		return writeJSON(os.Stdout, r)
	}
	if p.flags.lineBuffer || p.flags.ungroup || p.flags.tty {
		return nil
	}
	if p.flags.verbose {
		if _, err := io.WriteString(os.Stdout, r.Command+"\n"); err != nil {
			return err
		}
	}
	tag := ""
	if p.flags.tag || p.flags.tagString != "" {
		tag = r.Tag + "\t"
		if p.flags.coloredTags() {
			tag = painted(jobColor(r.Seq), r.Tag) + "\t"
		}
	}
	if err := p.paint(os.Stdout, tag, r, r.Stdout()); err != nil {
		return err
	}
	return p.paint(os.Stderr, tag, r, r.Stderr())
}

// paint writes an output of a job, in its colour if it has one.
func (p *printer) paint(w io.Writer, tag string, r *batch.Result, out io.Reader) error {
	color := p.flags.colorOf(r)
	if color == "" {
		return batch.WriteTagged(w, tag, out)
	}
	if p.flags.coloredTags() {
		tag = r.Tag + "\t" // one colour at a time
	}
	lines := &painter{w: w, color: color}
	if err := batch.WriteTagged(lines, tag, out); err != nil {
		return err
	}
	return lines.end()
}

// started prints a command when it starts, for the ways of output where its
// output follows at once.
func (p *printer) started(_, _ int, c batch.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(os.Stdout, c.Text+"\n"); err != nil && p.startErr == nil {
		p.startErr = err
		p.terminate()
	}
}

// printCommands is --dry-run.
func (f *runFlags) printCommands(jobs iter.Seq2[batch.Job, error], o batch.Options) error {
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	for cmd, err := range batch.Plan(jobs, o) {
		if err != nil {
			w.Flush()
			return err
		}
		w.WriteString(cmd.Text)
		if w.WriteByte('\n') != nil {
			break
		}
	}
	if err := w.Flush(); err != nil {
		return f.verdict(batch.Summary{}, err, nil)
	}
	return nil
}
