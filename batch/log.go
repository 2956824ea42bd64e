package batch

import (
	"fmt"
	"iter"
	"os"
	"sync"

	"github.com/brood-go/brood/internal/journal"
)

// joblog is a batch's job log and journal. A nil joblog writes nothing.
type joblog struct {
	journal *journal.Journal
	seen    journal.Occurrences // of this input; the reader's alone

	mu      sync.Mutex
	rows    *journal.Log
	matched int // jobs of this input that an earlier run wrote of
}

// logged is a job's place in the log.
type logged struct {
	id      journal.ID
	known   bool
	ended   bool
	ok      bool
	spooled bool // its output was not delivered; it lies at offset
	offset  int64
}

// done reports whether a job need not run again.
func (l *logged) done(r Resume) bool {
	return l.ended && (l.ok || r == Unfinished)
}

// openLog opens the files that the options ask for.
func (b *Batch) openLog() (err error) {
	spoolPath := ""
	if b.o.JobLog != "" {
		resume := b.o.Resume != Fresh
		if err := checkLog(b.o.JobLog, resume); err != nil {
			return err
		}
		b.log = &joblog{seen: make(journal.Occurrences)}
		if b.log.journal, err = journal.Open(b.o.JobLog+".journal", resume); err != nil {
			return fmt.Errorf("--joblog: %w", err)
		}
		if b.log.rows, err = journal.OpenLog(b.o.JobLog, resume); err != nil {
			b.log.journal.Close()
			return fmt.Errorf("--joblog: %w", err)
		}
		spoolPath = b.o.JobLog + ".spool"
	}
	_, serr := os.Stat(spoolPath)
	if b.o.KeepOrder || spoolPath != "" && serr == nil && b.o.Resume != Fresh {
		b.spool, err = newSpool(spoolPath, b.o.TempDir, b.o.Resume != Fresh)
	}
	return err
}

// checkLog refuses to resume with a log that has no journal beside it: nobody
// could say which jobs its lines stand for.
func checkLog(path string, resume bool) error {
	if !resume {
		return nil
	}
	if fi, err := os.Stat(path); err != nil || fi.Size() == 0 {
		return nil // the first run
	}
	if _, err := os.Stat(path + ".journal"); err != nil {
		return fmt.Errorf("can't resume: %s has no journal beside it (%s.journal), so which jobs are done is not known: use --retry-failed, which needs the log alone, or another --joblog", path, path)
	}
	return nil
}

// closeLog closes the files and notes what was seen of a changed input.
func (b *Batch) closeLog() {
	if b.log == nil {
		return
	}
	b.mu.Lock()
	whole := b.inputDone && b.level == running && b.err == nil
	b.mu.Unlock()
	if whole && !b.again && b.log.journal.Len() > b.log.matched {
		n := b.log.journal.Len() - b.log.matched
		b.sum.Notes = append(b.sum.Notes, fmt.Sprintf("the job log has %d jobs that are not in this input, which has changed since; they were left alone", n))
	}
	err := b.log.journal.Close()
	if cerr := b.log.rows.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		b.fail(fmt.Errorf("--joblog: %w", err))
	}
}

// find gives a job its place in the log. It is called in the order of the input.
func (l *joblog) find(t *task, dir string) *logged {
	var e logged
	if again := t.job.again; again != nil {
		e = *again
	} else {
		template := "command:" + t.job.Command.Text + "\x00" + quoteAll(t.job.Command.Argv)
		if t.job.Template != nil {
			template = t.job.Template.String()
		}
		e.id = l.seen.Next(journal.KeyOf(template, t.job.Values, dir))
	}
	s, known := l.journal.Lookup(e.id)
	if known {
		l.matched++
	}
	e.known, e.ended, e.ok, e.spooled, e.offset = known, s.Ended, s.OK(), s.Spooled, s.Offset
	return &e
}

// start records that a task is about to run.
func (l *joblog) start(t *task) error {
	if l == nil {
		return nil
	}
	return l.wrap(l.journal.Start(t.entry.id, t.seq))
}

// end records a task's end: the row for people first, then the record that
// counts, so that no job counts as ended without a row. offset is where its
// output lies if it is not delivered.
func (l *joblog) end(t *task, r *Result, offset *int64) error {
	if l == nil {
		return nil
	}
	row := journal.Row{
		Seq: t.seq, Host: ":", Start: r.Start, Runtime: r.Runtime(), Receive: r.StdoutLen(),
		ExitCode: r.ExitCode, Signal: int(r.Signal), Command: r.Command,
	}
	if r.Signal != 0 && r.Reason == Signaled {
		row.ExitCode = 0 // GNU parallel's -1 is for timeouts
	}
	s := journal.State{Seq: t.seq, Code: r.ExitCode, Signal: int(r.Signal), Command: journal.HashCommand(r.Command)}
	if !r.OK() && s.Code == 0 && s.Signal == 0 {
		s.Code = 1 // ended well, but for a reason of ours
	}
	if offset != nil {
		s.Spooled, s.Offset = true, *offset
	}
	l.mu.Lock()
	err := l.rows.Append(&row)
	l.mu.Unlock()
	if err == nil {
		err = l.journal.End(t.entry.id, s)
	}
	return l.wrap(err)
}

// delivered records that a spooled output is delivered.
func (l *joblog) delivered(e *logged) error {
	if l == nil {
		return nil
	}
	return l.wrap(l.journal.Delivered(e.id))
}

// wrap names the flag in an error.
func (l *joblog) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--joblog: what has ended can't be recorded: %w", err)
}

// FailedJobs yields the jobs whose last line in a job log, ours or GNU
// parallel's, says that they failed. They run as they ran then; a batch with
// the same JobLog and Resume: Failed records their new ends.
func FailedJobs(jobLog string) (iter.Seq2[Job, error], error) {
	type line struct {
		seq     int
		command uint64
	}
	last := make(map[line]journal.Row)
	var order []line
	for row, err := range journal.ReadLog(jobLog) {
		if err != nil {
			return nil, fmt.Errorf("--retry-failed: %w", err)
		}
		l := line{row.Seq, journal.HashCommand(row.Command)}
		if _, ok := last[l]; !ok {
			order = append(order, l)
		}
		last[l] = row
	}
	known, err := journal.Read(jobLog + ".journal")
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("--retry-failed: %w", err)
	}
	ids := make(map[line]journal.ID, len(known))
	for id, s := range known {
		ids[line{s.Seq, s.Command}] = id
	}
	return func(yield func(Job, error) bool) {
		occurrences := make(journal.Occurrences)
		for _, l := range order {
			row := last[l]
			if row.ExitCode == 0 && row.Signal == 0 {
				continue
			}
			id, ok := ids[l]
			if s := known[id]; len(known) > 0 && (!ok || s.OK()) {
				continue // it has ended well since, with another number
			}
			if !ok {
				id = occurrences.Next(journal.KeyOf("retry:"+row.Command, nil, ""))
			}
			if !yield(Job{Command: Command{Text: row.Command}, again: &logged{id: id}}, nil) {
				return
			}
		}
	}, nil
}
