package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/brood-go/brood/batch"
)

// demandFlags say what each job takes, and after which others it runs: the same for all, or from
// columns of the input.
type demandFlags struct {
	weight, cpus, memNeed, name, after string

	weightOf, cpusOf, memOf, nameOf, afterOf perJob
}

func (f *demandFlags) define(p *page) {
	s := p.section("What jobs take", "(a number, or where it is: {2}; small jobs move ahead of a large one that waits, but never delay it)")
	s.string(&f.weight, "weight", "", "N", "a job counts as N of those that -j lets run at once")
	s.string(&f.cpus, "cpus", "", "N", "it takes N CPUs, as in 2 or 0.5, of those that there are (-j is 0 then)")
	s.string(&f.memNeed, "mem-need", "", "SIZE", "it takes so much of the memory that is free at the start")

	s = p.section("Dependencies", "(several names: a,b; whole groups may have one name)")
	s.string(&f.after, "after", "", "NAMES", "a job runs once all jobs of these names have ended well, wherever in the input they are: a name, or where it is, as in {2}; if one fails it is skipped")
	s.string(&f.name, "name", "", "NAME", "what a job is called there, as in {1} (its number)")
}

// weighs reports whether jobs take different amounts.
func (f *demandFlags) weighs() bool { return f.weight != "" || f.cpus != "" || f.memNeed != "" }

// differ reports whether jobs differ by what they take or run after.
func (f *demandFlags) differ() bool { return f.weighs() || f.name != "" || f.after != "" }

// checkNames finds names that nobody calls.
func (f *demandFlags) checkNames(shuffled bool) error {
	if f.after != "" && f.name == "" && shuffled {
		return errors.New("--shuf changes the numbers by which --after calls jobs: give them names with --name")
	}
	if f.name != "" && f.after == "" {
		return fmt.Errorf("--name %s is what --after calls jobs by: add --after, or leave it away", f.name)
	}
	return nil
}

// parse reads the templates, in the syntax of the command.
func (f *demandFlags) parse(s batch.Syntax) error {
	if f.after != "" && f.name == "" {
		f.name = "{#}"
	}
	for _, x := range []struct {
		flag, text string
		to         *perJob
	}{{"weight", f.weight, &f.weightOf}, {"cpus", f.cpus, &f.cpusOf}, {"mem-need", f.memNeed, &f.memOf}, {"name", f.name, &f.nameOf}, {"after", f.after, &f.afterOf}} {
		var err error
		if *x.to, err = parsePerJob(x.text, s); err != nil {
			return fmt.Errorf("--%s: %w", x.flag, err)
		}
	}
	return nil
}

// needsTotal reports whether a value is made of the number of jobs.
func (f *demandFlags) needsTotal() bool {
	for _, v := range []*perJob{&f.weightOf, &f.cpusOf, &f.memOf, &f.nameOf, &f.afterOf} {
		if v.t != nil && v.t.NeedsTotal() {
			return true
		}
	}
	return false
}

// perJob is a text that is the same for all jobs, or one with replacement strings.
type perJob struct {
	given bool
	text  string
	t     *batch.Template // nil: text is the value
}

// parsePerJob reads the value of a flag.
func parsePerJob(text string, s batch.Syntax) (v perJob, err error) {
	v = perJob{given: text != "", text: text}
	if strings.Contains(text, cmp.Or(s.Replace, "{")) || strings.Contains(text, "{") {
		v.t, err = s.Text(text)
	}
	return v, err
}

// of is the value for a job.
func (v *perJob) of(j *batch.Job, seq int) (string, error) {
	if v.t == nil {
		return v.text, nil
	}
	line, err := v.t.Line(j.Values, batch.Numbers{Seq: seq, Slot: 1, Total: j.Total})
	return strings.TrimSpace(line), err
}

// separators stand between names.
const separators = ", \t\n"

// mark fills in what a job takes and after which others it runs.
func (f *demandFlags) mark(j *batch.Job, seq int) error {
	for _, x := range []struct {
		flag string
		v    *perJob
		set  func(string) error
	}{
		{"weight", &f.weightOf, func(s string) (err error) {
			j.Need.Places, err = strconv.Atoi(s)
			if err != nil || j.Need.Places < 1 || j.Need.Places > batch.Unlimited {
				err = fmt.Errorf("%q is no weight: use a whole number from 1", s)
			}
			return err
		}},
		{"cpus", &f.cpusOf, func(s string) (err error) {
			j.Need.CPUs, err = strconv.ParseFloat(s, 64)
			if err != nil || !(j.Need.CPUs >= 0 && j.Need.CPUs <= 1e6) {
				err = fmt.Errorf("%q is no number of CPUs: use one as in 2 or 0.5", s)
			}
			return err
		}},
		{"mem-need", &f.memOf, func(s string) (err error) {
			j.Need.Memory, err = batch.ParseSize(s)
			return err
		}},
		{"name", &f.nameOf, func(s string) error {
			if strings.ContainsAny(s, separators) {
				return fmt.Errorf("the name %q: --after takes names with commas or blanks in between, so that a name can't hold any", s)
			}
			j.Name = s
			return nil
		}},
		{"after", &f.afterOf, func(s string) error {
			j.After = strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(separators, r) })
			return nil
		}},
	} {
		if !x.v.given {
			continue
		}
		text, err := x.v.of(j, seq)
		if err == nil {
			err = x.set(text)
		}
		if err != nil {
			return fmt.Errorf("job %d: --%s: %w", seq, x.flag, err)
		}
	}
	return nil
}
