package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/brood-go/brood/batch"
)

// notifyTime bounds what --notify runs: it is the last thing that brood waits for.
const notifyTime = time.Minute

// comfortFlags are the flags of brood run about colours, quiet and the end, as they were given.
type comfortFlags struct {
	quiet, color, colorFailed, ctag bool
	ctagString, notify              string
}

// define declares the flags and their lines in the page.
func (f *comfortFlags) define(s *section) {
	s.boolean(&f.quiet, "quiet", "of brood's own lines only errors")
	s.boolean(&f.color, "color", "colours, also without a terminal or with NO_COLOR: each job's lines have their own (with --lb: the tags)")
	s.boolean(&f.colorFailed, "color-failed", "the output of failed jobs white on red (as of --ctag and --ctagstring: also with NO_COLOR)")
	s.boolean(&f.ctag, "ctag", "--tag in a colour of the job's own")
	s.string(&f.ctagString, "ctagstring", "", "STRING", "--tagstring in a colour of the job's own")
	s.string(&f.notify, "notify", "", "COMMAND", "run by the shell at the end, with BROOD_EXIT, BROOD_JOBS, BROOD_OK, BROOD_FAILED, BROOD_WALL and BROOD_VERDICT")
}

// setComfort reads them.
func (f *runFlags) setComfort(o *batch.Options) error {
	ungroup := f.ungroup || f.tty
	switch {
	case f.quiet && (f.bar || f.progress || f.eta):
		return errors.New("--quiet leaves out what --bar, --progress and --eta show: use one of them")
	case f.ctag && (f.tag || f.ctagString != "" || f.tagString != ""):
		return errors.New("--ctag is --tag with colours: leave --tag, --tagstring and --ctagstring away")
	case f.ctagString != "" && (f.tag || f.tagString != ""):
		return errors.New("--ctagstring is --tagstring with colours: leave --tag and --tagstring away")
	case ungroup && (f.ctag || f.ctagString != "" || f.color || f.colorFailed):
		return errors.New("-u and --tty give jobs the output itself: --ctag, --ctagstring, --color and --color-failed need --lb or the default")
	case f.lineBuffer && f.colorFailed:
		return errors.New("--lb passes lines on before it is known that the job fails: leave --color-failed or --lb away")
	}
	console.quiet, console.color = f.quiet, f.color
	f.tag = f.tag || f.ctag
	if f.ctagString != "" {
		f.tagString = f.ctagString
	}
	if f.coloredTags() {
		o.Paint = func(seq int, tag string) string { return painted(jobColor(seq), tag) }
	}
	return nil
}

// coloredTags reports whether tags have colours of their own.
func (f *runFlags) coloredTags() bool {
	return f.ctag || f.ctagString != "" || f.color && f.lineBuffer
}

// colorOf is the colour of a job's whole output, if it has one.
func (f *runFlags) colorOf(r *batch.Result) string {
	switch {
	case f.colorFailed && !r.OK():
		return failed
	case f.color && !f.coloredTags():
		return jobColor(r.Seq)
	}
	return ""
}

// runNotify runs --notify. The outcome is that of the batch, whatever it does.
func (f *runFlags) runNotify(sum batch.Summary, outcome error) {
	if f.notify == "" {
		return
	}
	code := exitCode(0)
	if outcome != nil && !errors.As(outcome, &code) {
		code = ownError
	}
	job := batch.Job{Command: batch.Command{Text: f.notify}, Env: []string{
		fmt.Sprintf("BROOD_EXIT=%d", code), fmt.Sprintf("BROOD_JOBS=%d", sum.Jobs), fmt.Sprintf("BROOD_OK=%d", sum.OK),
		fmt.Sprintf("BROOD_FAILED=%d", sum.Failed), fmt.Sprintf("BROOD_WALL=%.3f", sum.Wall.Seconds()), "BROOD_VERDICT=" + verdictLine(sum),
	}}
	jobs := func(yield func(batch.Job, error) bool) { yield(job, nil) }
	// What it prints is no output of a job.
	o := batch.Options{Slots: 1, Timeout: notifyTime, Output: batch.Through, Stdout: os.Stderr, Stderr: os.Stderr}
	for r, err := range batch.Run(context.Background(), jobs, o) {
		switch {
		case err == nil && r.OK():
		case err == nil && r.Err != nil:
			say("--notify: %v", r.Err)
		case err == nil && r.Reason == batch.Timeout:
			say("--notify: it was ended after %s", notifyTime)
		case err == nil:
			say("--notify: it ended with exit code %d", r.Code())
		default:
			say("--notify: %v", strings.TrimPrefix(err.Error(), "batch: "))
		}
	}
}
