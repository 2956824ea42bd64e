package main

import (
	"iter"
	"path/filepath"
	"testing"
	"time"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/internal/history"
)

// timed is a Runner whose jobs take as long as it says, and no time.
type timed time.Duration

func (d timed) Open(_ int, use func(batch.Slot, error)) { go use(d, nil) }

func (d timed) Run(*batch.Start, func(batch.Running)) (batch.Report, error) {
	now := time.Now()
	return batch.Report{PID: 7, Reason: batch.Exited, Start: now, End: now.Add(time.Duration(d)), PeakSource: "unknown"}, nil
}

// A job that ended at once and is the only one is not worth a record; a longer one is, and so are two.
func TestWorthARecord(t *testing.T) {
	for _, tt := range []struct {
		took  time.Duration
		jobs  int
		known bool
	}{{tooShort - 1, 1, false}, {tooShort, 1, true}, {tooShort - 1, 2, true}} {
		path := filepath.Join(t.TempDir(), "history.db")
		group := history.Group{Template: "x", Text: "x", Dir: "/"}
		b, err := batch.New(batch.Options{Slots: 1, Runner: timed(tt.took)})
		if err != nil {
			t.Fatal(err)
		}
		r := &recorder{history: history.New(path, group), batch: b}
		job := batch.Job{Command: batch.Command{Text: "true", Argv: []string{"true"}}, Values: []string{"v"}}
		jobs := iter.Seq2[batch.Job, error](func(yield func(batch.Job, error) bool) {
			for range tt.jobs {
				if !yield(job, nil) {
					return
				}
			}
		})
		if _, err := b.Each(t.Context(), jobs, func(res *batch.Result) error {
			for !b.Stats().InputDone { // the reader may be on its way to its end
			}
			r.add(res)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		h := history.New(path, group)
		if err := h.Load(); err != nil {
			t.Fatal(err)
		}
		if e, _ := h.Estimate([]string{"v"}); (e.Wall > 0) != tt.known {
			t.Errorf("%d jobs of %v: known %v, want %v", tt.jobs, tt.took, e.Wall > 0, tt.known)
		}
	}
}
