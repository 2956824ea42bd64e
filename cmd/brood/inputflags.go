package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/internal/input"
)

// inputFlags are the flags about what becomes of the input: how it is cut, how much of it a job
// gets, and how it stands in the command.
type inputFlags struct {
	argFiles           []string
	null               bool
	delimiter, colSep  string
	csv, link, noEmpty bool
	header, trim       string
	argSep, fileSep    string
	noShell            bool
	// packing
	most, count, lines      counter
	repeat, multiple, xargs bool
	maxChars                string
	// replacement strings
	rules   []string
	plus    bool
	replace string
	// splitting
	pipe, pipePart       bool
	block                string
	recStart, recEnd     freeText
	regexp, removeRecSep bool

	template *batch.Template // of all jobs, nil with --retry-failed
	command  []string        // its words
	names    []string        // of the columns, of --header
}

// counter is a flag that takes a whole number from 0.
type counter struct {
	n     int
	given bool
}

// String implements pflag.Value.
func (c *counter) String() string { return strconv.Itoa(c.n) }

// Type implements pflag.Value.
func (c *counter) Type() string { return "number" }

// Set implements pflag.Value.
func (c *counter) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no count: use a whole number", s)
	}
	c.n, c.given = n, true
	return nil
}

// freeText is a flag that takes any text, the empty one as well.
type freeText struct {
	text  string
	given bool
}

// String implements pflag.Value.
func (t *freeText) String() string { return t.text }

// Type implements pflag.Value.
func (t *freeText) Type() string { return "text" }

// Set implements pflag.Value.
func (t *freeText) Set(s string) error {
	t.text, t.given = s, true
	return nil
}

// define declares the flags and their lines in the page.
func (f *inputFlags) define(p *page) {
	s := p.section("Input", "(without any: lines of standard input; without a command: each is a command)")
	s.term("::: A B C", "values; several ::: give every combination")
	s.term(":::+ X Y Z", "values that go in pairs with those of the source before")
	s.term(":::: FILE", "lines of a file (- is standard input)")
	s.list(&f.argFiles, "arg-file,a", "FILE", "the same as a flag")
	s.boolean(&f.link, "link", "all sources go in step, to the end of the longest; the others start again")
	s.boolean(&f.null, "null,0", "inputs end with a NUL byte, as of find -print0")
	s.string(&f.delimiter, "delimiter,d", "", "STRING", `inputs end with STRING (\n, \t, \0, \x1f are known)`)
	s.string(&f.colSep, "colsep,C", "", "REGEXP", "split each line into columns {1} {2} ... (\\t with --header)")
	s.boolean(&f.csv, "csv", "columns with commas (or -C TEXT) in between, in \"...\" where they hold such")
	s.string(&f.header, "header", "", ":", "the first input of each source names its columns: {name}, {name.}")
	s.string(&f.trim, "trim", "", "l|r|lr|n", "cut blanks off values, on the left, the right, both, none (both with -C, else none)")
	s.boolean(&f.noEmpty, "no-run-if-empty,r", "leave out empty and blank inputs")
	s.string(&f.argSep, "arg-sep", ":::", "TEXT", "another word for :::")
	s.string(&f.fileSep, "arg-file-sep", "::::", "TEXT", "another word for ::::")
	s.boolean(&f.noShell, "no-shell", "start the program itself: no shell, one word one argument")

	s = p.section("Several inputs for a job", "")
	s.value(&f.most, "max-args,n", "N", "at most N, in one place: x{}y becomes xa by; 0: none of its one")
	s.value(&f.count, "max-replace-args,N", "N", "N, as {1} to {N}; x{}y becomes xay xby; 0: none of its one")
	s.value(&f.lines, "max-lines,L", "N", "N lines, as -N; one that ends in a blank goes on in the next")
	s.boolean(&f.multiple, "multiple,m", "as many as a command line holds, in one place, spread over -j at the end")
	s.boolean(&f.repeat, "context-replace,X", "the same, but the word of {} is repeated: x{}y becomes xay xby")
	s.boolean(&f.xargs, "xargs", "like -m, not spread at the end")
	s.string(&f.maxChars, "max-chars,s", "", "SIZE", "a command line is shorter than this (as the system allows: 128K)")

	s = p.section("Standard input of jobs", "")
	s.boolean(&f.pipe, "pipe", "cut standard input into blocks, and give each to a job as its own")
	s.boolean(&f.pipePart, "pipe-part", "the same with parts of the files of -a, which jobs read themselves")
	s.string(&f.block, "block", "", "SIZE", "about how large a block is (1M); with --pipe-part -N: N for each of -j (-10)")
	s.value(&f.recEnd, "recend", "STRING", `records end with STRING (\n); '': anywhere`)
	s.value(&f.recStart, "recstart", "STRING", "records begin with STRING; with --recend: after it")
	s.boolean(&f.regexp, "regexp", "the two are regular expressions (RE2)")
	s.boolean(&f.removeRecSep, "rrs", "take them out of the blocks")
	s.term("-N N, -L N", "with --pipe: N records for each job; records of N lines")
	s.term("--header N", "with both: the first N lines (: is one) stand before each block")

	s = p.section("Replacement strings,", "quoted safely for the shell ({} is added if there is none)")
	s.text = replacementStrings
	s = p.section("Other replacement strings", "")
	s.list(&f.rules, "rpl", "'TAG STEPS'", "TAG stands for a value changed by STEPS")
	s.boolean(&f.plus, "plus", "{..} {...} without two, three extensions, {/..} {/...}; {+/} directory, {+.} {+..} {+...} extensions; {:-text}; as in bash {:2} {:2:3} {#re} {##re} {%re} {%%re} {/re/text} {^a} {^^a} {,a} {,,a}")
	s.string(&f.replace, "replace,I", "", "TEXT", "TEXT stands for the input instead of {}")
}

// splits reports whether jobs get blocks as their standard input.
func (f *inputFlags) splits() bool { return f.pipe || f.pipePart }

// check finds flags that can't be meant together.
func (f *inputFlags) check(tty bool) error {
	fills := 0
	for _, set := range []bool{f.repeat, f.multiple, f.xargs} {
		if set {
			fills++
		}
	}
	separators := f.recStart.given || f.recEnd.given || f.regexp || f.removeRecSep
	for _, c := range []struct {
		bad  bool
		text string
	}{
		{fills > 1, "-X, -m and --xargs each say how inputs fill a command line: use one of them"},
		{fills > 0 && f.count.given, "-N counts the inputs of a job, -X, -m and --xargs take as many as fit: use one of them, or -n for the most that a job may have"},
		{f.most.given && f.count.given, "-n and -N both count the inputs of a job: use one of them (-N for {1} to {N})"},
		{f.lines.given && !f.splits() && (f.most.given || f.count.given), "-L counts the lines of a job, -n and -N its inputs: use one of them"},
		{f.lines.given && !f.splits() && fills > 0, "-L counts the lines of a job, -X, -m and --xargs take as many as fit: use one of them"},
		{f.lines.given && f.lines.n == 0, "-L 0: a job has at least one line"},
		{f.pipe && f.pipePart, "--pipe cuts standard input, --pipe-part files: use one of them"},
		{!f.splits() && separators, "--recstart, --recend, --regexp and --rrs cut a stream into blocks: add --pipe, or --pipe-part -a FILE"},
		{!f.splits() && f.block != "", "--block is the size of the blocks of a stream: add --pipe, or --pipe-part -a FILE"},
		{f.splits() && (fills > 0 || f.most.given), "--pipe and --pipe-part put no inputs into the command line: leave -X, -m, --xargs and -n away (-N counts records)"},
		{f.splits() && (f.csv || f.colSep != "" || f.null || f.delimiter != ""), "--pipe and --pipe-part cut at --recstart and --recend: leave --csv, -C, -0 and -d away"},
		{f.splits() && (f.link || f.trim != "" || f.noEmpty), "--pipe and --pipe-part pass blocks on as they are: leave --link, --trim and -r away"},
		{f.pipe && len(f.argFiles) > 0, "--pipe reads standard input: write < FILE, or use --pipe-part -a FILE"},
		{f.pipe && strings.HasPrefix(f.block, "-"), "--block " + f.block + ": the size of standard input is not known, so that it can't be cut into so many parts: use a size, or --pipe-part -a FILE"},
		{f.splits() && tty, "--tty gives jobs the terminal as their standard input, --pipe and --pipe-part blocks: use one of them"},
		{f.splits() && f.count.given && f.count.n == 0, "-N 0: a block has at least one record"},
		{f.pipePart && (f.count.given || f.lines.given), "--pipe-part reads files only where they are cut, and can't count: use --block, --recstart and --recend, or --pipe for -N and -L"},
		{f.pipePart && f.removeRecSep, "--pipe-part passes parts of the files on as they are: leave --rrs away, or use --pipe"},
		{f.argSep == f.fileSep, "--arg-sep and --arg-file-sep are the same word: values or files could be meant"},
	} {
		if c.bad {
			return errors.New(c.text)
		}
	}
	if n, err := f.headerLines(); err != nil {
		return err
	} else if n != 1 && f.header != "" && !f.splits() {
		return fmt.Errorf("--header %s: the names of values are one input: use --header : (more lines are for --pipe)", f.header)
	}
	return nil
}

// headerLines reads --header.
func (f *inputFlags) headerLines() (int, error) {
	switch f.header {
	case "":
		return 0, nil
	case ":":
		return 1, nil
	}
	n, err := strconv.Atoi(f.header)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("--header %s: use : for the first line, or with --pipe a number of lines", f.header)
	}
	return n, nil
}

// packing is how a job's inputs stand in its command.
func (f *inputFlags) packing() batch.Packing {
	switch {
	case f.repeat || f.count.given || f.lines.given || f.most.given && f.most.n == 0:
		return batch.Repeated
	case f.multiple || f.xargs || f.most.given:
		return batch.Joined
	}
	return batch.OneRow
}

// syntax is how templates are read. texts are those beside the command.
func (f *inputFlags) syntax(texts ...string) (batch.Syntax, error) {
	s := batch.Syntax{Names: f.names, Replace: f.replace, Plus: f.plus, Stdin: f.splits()}
	if !s.Stdin {
		s.Packing = f.packing()
	}
	for _, text := range f.rules {
		r, err := batch.ParseRule(text)
		if err != nil {
			return s, fmt.Errorf("--rpl %w", err)
		}
		s.Rules = append(s.Rules, r)
	}
	if !f.plus {
		return s, nil
	}
	rules, err := plusRules(strings.Join(append(slices.Clip(f.command), texts...), " "), s.Rules)
	s.Rules = append(s.Rules, rules...)
	return s, err
}

// input makes the jobs from what follows the flags, and reads the templates of o.
func (f *runFlags) input(args []string, o *batch.Options) (iter.Seq2[batch.Job, error], error) {
	if f.retryFailed {
		if f.splits() {
			return nil, errors.New("--retry-failed takes whole commands from the job log, without the blocks that they read: use --resume-failed with the same --pipe or --pipe-part")
		}
		jobs, err := f.failedJobs(args)
		if err != nil {
			return nil, err
		}
		return jobs, f.parseTag(batch.Syntax{}, o)
	}
	command, sources, err := input.Separators{Values: f.argSep, Files: f.fileSep}.Split(args)
	if err != nil {
		return nil, err
	}
	files := make([]input.Source, 0, len(f.argFiles)+len(sources))
	for _, name := range f.argFiles {
		files = append(files, input.FileSource(name))
	}
	sources = append(files, sources...)
	f.command = command
	return f.jobsOf(sources, o)
}

// jobsOf makes the jobs of the sources.
func (f *runFlags) jobsOf(sources []input.Source, o *batch.Options) (iter.Seq2[batch.Job, error], error) {
	if f.splits() {
		return f.splitJobs(sources, o)
	}
	if len(sources) == 0 && term.IsTerminal(int(os.Stdin.Fd())) {
		inform("inputs are read from the terminal, one a line, up to Ctrl-D; give them after ::: or name a file after :::: instead")
	}
	r, err := input.Open(sources, input.Options{
		Stdin: os.Stdin, Null: f.null, Delimiter: f.delimiter, ColSep: f.columns(), CSV: f.csv, Header: f.header != "",
		Link: f.link, Trim: f.trimming(), SkipEmpty: f.noEmpty, Continue: f.lines.given,
	})
	if err != nil {
		return nil, err
	}
	f.names = r.Names()
	if err := f.parse(o); err != nil {
		r.Close()
		return nil, err
	}
	if f.packing() != batch.OneRow || f.maxChars != "" {
		p, err := f.packOptions(o)
		if err != nil {
			r.Close()
			return nil, err
		}
		return batch.Pack(r.Rows(), f.template, p), nil
	}
	return func(yield func(batch.Job, error) bool) {
		for values, err := range r.Rows() {
			if !yield(batch.Job{Template: f.template, Values: values}, err) {
				return
			}
		}
	}, nil
}

// trimming is which blanks are cut off values. With -C it is those on both sides, unless --trim says
// something else, as in GNU parallel.
func (f *inputFlags) trimming() string {
	if f.trim == "" && f.colSep != "" {
		return "lr"
	}
	return f.trim
}

// columns is what is between columns: with --header a tab unless another flag says something else,
// as in GNU parallel.
func (f *inputFlags) columns() string {
	if f.colSep == "" && f.header != "" && !f.csv {
		return `\t`
	}
	return f.colSep
}

// packOptions says how many inputs a job gets.
func (f *runFlags) packOptions(o *batch.Options) (batch.PackOptions, error) {
	p := batch.PackOptions{Env: o.Env, Rows: cmp.Or(f.most.n, f.count.n, f.lines.n)}
	p.None = p.Rows == 0 && (f.most.given || f.count.given)
	if f.repeat || f.multiple {
		p.Spread = o.Slots
	}
	if f.packing() == batch.OneRow {
		p.Rows = 1
	}
	if f.maxChars != "" {
		size, err := batch.ParseSize(f.maxChars)
		if err != nil || size < 1 {
			return p, fmt.Errorf("-s %s: it is the most bytes of a command line: use a number, or a suffix as in 64K", f.maxChars)
		}
		p.Size = int(min(size, 1<<30))
	}
	return p, nil
}

// parse reads the templates of command, tag and priority.
func (f *runFlags) parse(o *batch.Options) error {
	s, err := f.syntax(f.tagString, f.name, f.after, f.weight, f.cpus, f.memNeed)
	if err != nil {
		return err
	}
	if f.noShell {
		f.template, err = s.Argv(f.command)
	} else {
		f.template, err = s.Template(f.command)
	}
	if err != nil {
		return err
	}
	if f.rank != nil {
		if f.rank, err = s.Text(f.rankText()); err != nil {
			return fmt.Errorf("--priority: %w", err)
		}
	}
	if err := f.demandFlags.parse(s); err != nil {
		return err
	}
	return f.parseTag(s, o)
}

// parseTag reads --tag and --tagstring.
func (f *runFlags) parseTag(s batch.Syntax, o *batch.Options) (err error) {
	text := f.tagString
	if f.tag {
		text = cmp.Or(s.Replace, "{}")
	}
	if text == "" {
		return nil
	}
	if o.Tag, err = s.Text(text); err != nil {
		return fmt.Errorf("--tagstring: %w", err)
	}
	return nil
}

// splitJobs makes the jobs of --pipe and --pipe-part.
func (f *runFlags) splitJobs(sources []input.Source, o *batch.Options) (iter.Seq2[batch.Job, error], error) {
	var files []string
	for _, s := range sources {
		path, ok := s.File()
		if f.pipe || !ok {
			return nil, fmt.Errorf("--pipe and --pipe-part give jobs what is read, and no values: leave %s away (files: --pipe-part -a FILE)", s.Flag())
		}
		files = append(files, path)
	}
	switch {
	case len(f.command) == 0:
		return nil, errors.New("--pipe and --pipe-part need a command that reads its standard input")
	case f.pipePart && len(files) == 0:
		return nil, errors.New("--pipe-part cuts files: name one with -a FILE, or use --pipe for standard input")
	}
	header, err := f.headerLines()
	if err != nil {
		return nil, err
	}
	b := input.BlockOptions{
		Borders: input.Borders{Start: f.recStart.text, End: f.recEnd.text, StartGiven: f.recStart.given, EndGiven: f.recEnd.given, Regexp: f.regexp},
		Records: f.count.n, Lines: f.lines.n, Header: header, Strip: f.removeRecSep,
	}
	if b.Size, err = f.blockSize(files, o.Slots); err != nil {
		return nil, err
	}
	if err := f.parse(o); err != nil {
		return nil, err
	}
	if f.pipe {
		if o.ReadAhead == 0 {
			o.ReadAhead = 1 // blocks are large, and memory is to stay constant
		}
		return inputJobs(f.template, input.Blocks(os.Stdin, b)), nil
	}
	return func(yield func(batch.Job, error) bool) {
		for _, path := range files {
			for j, err := range inputJobs(f.template, input.Sections(path, b)) {
				if !yield(j, err) || err != nil {
					return
				}
			}
		}
	}, nil
}

// inputJobs makes a job of each block.
func inputJobs[B batch.Input](t *batch.Template, blocks iter.Seq2[B, error]) iter.Seq2[batch.Job, error] {
	return func(yield func(batch.Job, error) bool) {
		for b, err := range blocks {
			j := batch.Job{Template: t}
			if err == nil {
				j.Input = b
			}
			if !yield(j, err) {
				return
			}
		}
	}
}

// blockSize reads --block.
func (f *runFlags) blockSize(files []string, slots int) (int64, error) {
	text := f.block
	if f.pipePart {
		text = cmp.Or(text, "-10")
	}
	number, parts := strings.CutPrefix(text, "-")
	if text == "" {
		return 0, nil
	}
	size, err := batch.ParseSize(number)
	if err != nil || size < 1 {
		return 0, fmt.Errorf("--block %s: use a size in bytes, or a suffix as in 64K, 10M; with --pipe-part -2 for two blocks for each job at once", f.block)
	}
	if !parts && f.pipe && size > 1<<31-1 {
		return 0, fmt.Errorf("--block %s: a block of --pipe is held in memory: use less than 2G, or --pipe-part -a FILE", f.block)
	}
	total, err := input.FileSizes(files) // also to find those that can't be cut before anything runs
	if !parts {
		return size, err
	}
	if slots == batch.Unlimited { // of -j 0: nobody wants thousands of parts
		slots = batch.CPUs()
	}
	return 1 + total/int64(slots)/size, err
}
