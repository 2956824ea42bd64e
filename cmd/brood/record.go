package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/internal/history"
)

// openHistory is what earlier runs tell of the jobs of this one; it must be called after
// f.input. Nothing is read before the first question. It is nil, which knows nothing, where
// there is none: with --no-history, without a place for the file, and with
// --retry-failed, which knows commands, not what they were made of.
func (f *runFlags) openHistory() *history.History {
	if f.history != nil || f.noHistory || f.template == nil {
		return f.history
	}
	path, err := history.Path()
	if err != nil {
		return nil
	}
	dir, err := filepath.Abs(f.workDir) // "" is the current one
	if err != nil {
		return nil
	}
	text := strings.Join(f.command, " ")
	if text == "" {
		text = "{}" // each input is a command
	}
	f.history = history.New(path, history.Group{Template: f.template.String(), Text: text, Dir: dir})
	return f.history
}

// sayHistory says what must not be overlooked of the history: that it was damaged, or that
// the file which the user has named can't be used. Nothing else is worth a line in each run;
// brood history says why there is none.
func (f *runFlags) sayHistory(err error) {
	d := (*history.Damage)(nil)
	if errors.As(err, &d) || err != nil && os.Getenv("BROOD_HISTORY") != "" {
		say("%v", err)
	}
}

// The history is written when so many jobs have ended, or so long after the first of
// them: what a kill can take of it.
const (
	flushJobs  = 1000
	flushAfter = 5 * time.Second
)

// tooShort is a job that is not worth a record if it is the only one: writing it would
// take as long, and there is nothing to order.
const tooShort = 10 * time.Millisecond

// recorder writes what jobs cost to the history, beside the batch. A nil one does not.
type recorder struct {
	history *history.History
	batch   *batch.Batch
	results int // of add
	writing sync.WaitGroup

	mu    sync.Mutex
	timer *time.Timer // of the next flush
	busy  bool        // one is under way
	ended bool
	err   error // of the last one; a damage is not forgotten
}

// newRecorder is nil where nothing is to be recorded: no history, or command lines that are
// filled, whose thousands of values would not come together again.
func (f *runFlags) newRecorder(b *batch.Batch) *recorder {
	if h := f.openHistory(); h != nil && !f.repeat && !f.multiple && !f.xargs {
		return &recorder{history: h, batch: b}
	}
	return nil
}

// add records a result, if it ended well: how soon a job fails tells nothing. It is
// called for one at a time. The flush after the last one begins at once, so
// that the batch's own end does not wait for it.
func (r *recorder) add(res *batch.Result) {
	if r == nil {
		return
	}
	n := 0
	if r.results == 0 && res.Runtime() < tooShort && isOnly(r.batch.Stats()) {
		return
	}
	if res.OK() {
		n = r.history.Add(res.Values, history.Measure{Wall: res.Runtime(), CPU: res.User + res.System, Memory: res.Resident})
	}
	r.results++
	s := r.batch.Stats()
	last := s.InputDone && !s.Stopping && r.results == s.Jobs
	if last && s.Skipped == 0 {
		r.history.Ended(history.Batch{Jobs: r.results, Wall: s.Wall})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case last || n > 0 && n%flushJobs == 0: // not at each further one, if the store is not to be had
		r.start()
	case n > 0 && r.timer == nil:
		r.timer = time.AfterFunc(flushAfter, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.start()
		})
	}
}

// isOnly reports whether a batch has one job.
func isOnly(s batch.Stats) bool { return s.InputDone && s.Jobs == 1 }

// start begins a flush, unless one is under way. r.mu is held.
func (r *recorder) start() {
	if r.busy || r.ended {
		return
	}
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.busy = true
	r.writing.Go(func() {
		err := r.history.Flush()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.busy = false
		r.note(err)
	})
}

// note keeps an error. r.mu is held.
func (r *recorder) note(err error) {
	if d := (*history.Damage)(nil); !errors.As(r.err, &d) {
		r.err = err
	}
}

// end writes what is left.
func (r *recorder) end() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	r.ended = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.writing.Wait()
	err := r.history.Flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(err)
	return r.err
}
