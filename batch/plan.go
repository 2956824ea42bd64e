package batch

import (
	"fmt"
	"iter"
	"os"

	"github.com/brood-go/brood/internal/journal"
)

// Plan yields the commands that Run would run, in the order of the input, and
// runs nothing and writes nothing. {%} is 1 in all of them. An error is yielded
// last: that of the options, of the input, or of a job that could not be run.
func Plan(jobs iter.Seq2[Job, error], o Options) iter.Seq2[Command, error] {
	return func(yield func(Command, error) bool) {
		known, err := o.known()
		if err != nil {
			yield(Command{}, err)
			return
		}
		b := &Batch{o: o}
		seen := make(journal.Occurrences)
		seq := 0
		for job, err := range jobs {
			seq++
			if err == nil && len(known) > 0 && job.again == nil {
				if o.Resume.done(known[seen.Next(keyOf(&job, b.dir(&job)))]) {
					continue
				}
			}
			var r Result
			var cmd Command
			if err == nil {
				if cmd, err = b.expand(&task{seq: seq, job: job}, 1, &r); err != nil {
					err = fmt.Errorf("job %d: %w", seq, err)
				}
				cmd.Text = r.Command
			}
			if !yield(cmd, err) || err != nil {
				return
			}
		}
	}
}

// known is what earlier runs wrote of their jobs.
func (o *Options) known() (map[journal.ID]journal.State, error) {
	if err := o.validate(); err != nil || o.JobLog == "" || o.Resume == Fresh {
		return nil, err
	}
	withJournal, err := checkLog(o.JobLog, o.Resume)
	if err != nil || !withJournal {
		return nil, err
	}
	known, err := journal.Read(o.JobLog + ".journal")
	if os.IsNotExist(err) {
		return nil, nil // the first run
	}
	return known, err
}
