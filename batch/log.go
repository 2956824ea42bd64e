package batch

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"sync"

	"github.com/brood-go/brood/internal/journal"
)

// joblog is a batch's job log and the journal beside it. A nil joblog writes
// nothing. Without a journal there are rows alone, which say enough for Retry:
// where the job log is no file, and where the log that is retried has no journal.
type joblog struct {
	journal *journal.Journal    // or nil
	seen    journal.Occurrences // of this input; the reader's alone
	resume  Resume

	mu      sync.Mutex
	rows    *journal.Log
	matched int // jobs of this input that an earlier run wrote of
}

// logged is a job's place in the log.
type logged struct {
	id      journal.ID
	seq     int  // of a job that FailedJobs took from the log
	done    bool // it need not run again
	ok      bool // it ended well then
	spooled bool // its output was not delivered; it lies at offset
	offset  int64
}

// done reports whether a job that an earlier run wrote of need not run again.
func (r Resume) done(s journal.State) bool {
	return s.Ended && (s.OK() || r == Unfinished)
}

// openLog opens the files that the options ask for.
func (b *Batch) openLog() (err error) {
	spoolPath := ""
	if path := b.o.JobLog; path != "" {
		if b.log, err = openJobLog(path, b.o.Resume); err != nil {
			return fmt.Errorf("--joblog: %w", err)
		}
		if b.log.journal != nil {
			spoolPath = path + ".spool"
		}
	}
	_, serr := os.Stat(spoolPath)
	if b.o.KeepOrder || spoolPath != "" && serr == nil && b.o.Resume != Fresh {
		b.spool, err = newSpool(spoolPath, b.o.TempDir, b.o.Resume != Fresh)
	}
	if err != nil {
		return errors.Join(err, b.log.close())
	}
	if b.spool != nil && spoolPath != "" {
		b.log.journal.SyncFirst(b.spool.file.Sync)
	}
	return nil
}

// openJobLog opens a job log and, where there can be one, its journal.
func openJobLog(path string, r Resume) (*joblog, error) {
	withJournal, err := checkLog(path, r)
	if err != nil {
		return nil, err
	}
	l := &joblog{seen: make(journal.Occurrences), resume: r}
	if withJournal {
		if l.journal, err = journal.Open(path+".journal", r != Fresh); err != nil {
			return nil, err
		}
	}
	if l.rows, err = journal.OpenLog(path, r != Fresh); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if withJournal {
		l.journal.SyncFirst(l.rows.Sync)
	}
	return l, nil
}

// checkLog refuses, before anything is changed, what is no job log, and to resume
// with a log that has no journal: nobody could say which jobs its lines stand for.
func checkLog(path string, r Resume) (withJournal bool, err error) {
	if err := journal.CheckLog(path); err != nil {
		return false, err
	}
	if !journal.IsFile(path) {
		if r != Fresh {
			return false, fmt.Errorf("can't resume: %s is no file, and keeps nothing: use a file", path)
		}
		return false, nil
	}
	fi, err := os.Stat(path)
	if r == Fresh || err != nil || fi.Size() == 0 {
		return true, nil // the first run
	}
	if _, err := os.Stat(path + ".journal"); err == nil {
		return true, nil
	}
	if r == Retry {
		return false, nil
	}
	return false, fmt.Errorf("can't resume: %s has no journal beside it (%s.journal), so which jobs are done is not known: use --retry-failed, which needs the log alone, or another --joblog", path, path)
}

// closeLog closes the files and notes what was seen of a changed input.
func (b *Batch) closeLog() {
	if b.log == nil {
		return
	}
	b.mu.Lock()
	whole := b.inputDone && b.level == running && b.err == nil
	b.mu.Unlock()
	if n := b.log.gone(); whole && b.o.Resume != Retry && n > 0 {
		what, are, were := "jobs", "are", "they were"
		if n == 1 {
			what, are, were = "job", "is", "it was"
		}
		b.sum.Notes = append(b.sum.Notes, fmt.Sprintf("the job log has %d %s that %s not in this input, which has changed since; %s left alone", n, what, are, were))
	}
	if err := b.log.close(); err != nil {
		b.fail(fmt.Errorf("--joblog: %w", err))
	}
}

// gone is how many jobs earlier runs wrote of that this input does not have.
func (l *joblog) gone() int {
	if l.journal == nil {
		return 0
	}
	return l.journal.Len() - l.matched
}

// close closes what is open.
func (l *joblog) close() error {
	if l == nil {
		return nil
	}
	var errs [2]error
	if l.journal != nil {
		errs[0] = l.journal.Close()
	}
	if l.rows != nil {
		errs[1] = l.rows.Close()
	}
	return errors.Join(errs[:]...)
}

// find gives a job its place in the log. It is called in the order of the input.
func (l *joblog) find(j *Job, dir string) *logged {
	var e logged
	if j.again != nil {
		e = *j.again
	} else {
		e.id = l.seen.Next(keyOf(j, dir))
	}
	if l.journal == nil {
		return &e
	}
	s, known := l.journal.Lookup(e.id)
	if known {
		l.matched++
	}
	e.done, e.ok, e.spooled, e.offset = l.resume.done(s), s.OK(), s.Spooled, s.Offset
	return &e
}

// keyOf hashes what a job does.
func keyOf(j *Job, dir string) journal.Key {
	template := "command:" + j.Command.Text + "\x00" + quoteAll(j.Command.Argv)
	if j.Template != nil {
		template = j.Template.String()
	}
	if j.Input != nil {
		template += "\x00input:" + j.Input.Key()
	}
	return journal.KeyOf(template, j.Values, dir)
}

// start records that a task is about to run.
func (l *joblog) start(t *task) error {
	if l == nil || l.journal == nil {
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
		Seq: t.seq, Host: ":", Start: r.Start, Runtime: r.Runtime(), Send: r.sent, Receive: r.StdoutLen(),
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
	if err == nil && l.journal != nil {
		err = l.journal.End(t.entry.id, s)
	}
	return l.wrap(err)
}

// delivered records that a spooled output is delivered.
func (l *joblog) delivered(e *logged) error {
	if l == nil || l.journal == nil {
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
// the same JobLog and Resume: Retry records their new ends.
func FailedJobs(jobLog string) (iter.Seq2[Job, error], error) {
	type line struct {
		seq     int
		command uint64
	}
	last := make(map[line]journal.Row)
	var order []line
	for row, err := range journal.ReadLog(jobLog) {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: name the job log of an earlier run", err)
		}
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
		for _, l := range order {
			row := last[l]
			if row.ExitCode == 0 && row.Signal == 0 {
				continue
			}
			id, ok := ids[l]
			if s := known[id]; len(known) > 0 && (!ok || s.OK()) {
				continue // it has ended well since, with another number
			}
			if !ok { // the journal knows nothing, or there is none
				id = journal.ID{Key: journal.KeyOf("retry:"+row.Command, nil, strconv.Itoa(l.seq)), N: 1}
			}
			if !yield(Job{Command: Command{Text: row.Command}, again: &logged{id: id, seq: l.seq}}, nil) {
				return
			}
		}
	}, nil
}
