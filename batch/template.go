package batch

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Command is a command to run, in one of two forms.
type Command struct {
	// Text is a command line for a shell. Beside an Argv it only shows that.
	Text string
	// Argv is an argument vector that is started without a shell.
	Argv []string
}

// Template is a command with replacement strings, those of GNU parallel:
//
//	{}  {.}  {/}  {//}  {/.}    the input: whole, without its extension, its base
//	                            name, its directory, base name without extension
//	{3} {3.} {3/} {3//} {3/.}   the same of the third value; {-1} is the last
//	{1:text}                    the value, or the text if it is empty or not there
//	{#}  {%}  {##}              the job's number; its slot's; the number of all jobs
//	{= STEPS =}  {=1 STEPS =}   a value changed by the steps of ParseRule
//
// Syntax adds others. With several values {} is all of them, with a blank in between. It is added
// as a last word if there is no replacement string. A template without words,
// or of {} alone, stands for a whole command in the value.
//
// In shell text the values are quoted for where they stand: alone, between
// single or double quotes, in a command substitution; they always arrive
// literally. Where that can't be done a template is refused, as before all where bash takes
// a word for arithmetic ([[ … -gt … ]], let, a subscript); in $((…)) and ((…)) values must be
// numbers. Text that goes
// through a second shell (sh -c '{}', eval, ssh) is read twice: pass the value
// as an argument there (sh -c 'echo "$1"' sh {}).
type Template struct {
	words    []string
	argv     bool
	whole    bool        // the value is the command
	segments [][]segment // of each word of argv; of the one text
	syntax   Syntax
}

// quoting is where in a shell command a value stands.
type quoting uint8

const (
	alone quoting = iota
	inDouble
	inSingle
	inArithmetic
	raw // not in shell text at all
)

// segment is literal text, or a replacement string if what is set.
type segment struct {
	text     string
	what     kind
	label    string              // how it is written, for errors
	change   func(string) string // what becomes of a value; nil: nothing
	n        int                 // which value, from 1 or, negative, from the end; 0: all
	fallback bool                // preset stands for a value that is not there or empty
	preset   string
	ctx      quoting
	quote    bool      // bare characters are not enough: its neighbours would take it up
	split    bool      // in double quotes: close and open them first
	word     [2]string // the letters around it, if it and they alone are a word
	lone     bool      // a word by itself, which may be left out
	pos      int       // in the text
	inner    []segment // of a repeated word
}

type kind uint8

const (
	literal kind = iota
	value
	seqNumber
	slotNumber
	totalNumber
	repeated // a word that is there once for each value
)

// ofAll reports whether a segment stands for all values.
func (s *segment) ofAll() bool { return s.what == value && s.n == 0 }

// ParseTemplate reads a command for a shell: its words joined by blanks.
func ParseTemplate(words []string) (*Template, error) { return Syntax{}.Template(words) }

// ParseArgv reads a command that is started without a shell: each word is one
// argument, and a word that is {} alone becomes one for each value.
func ParseArgv(words []string) (*Template, error) { return Syntax{}.Argv(words) }

// parseRaw finds the replacement strings in text that no shell reads.
func (g *grammar) parseRaw(text string) (segs []segment, err error) {
	from := 0
	for i := 0; i < len(text); {
		seg, n, err := g.match(text[i:])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			i++
			continue
		}
		if i > from {
			segs = append(segs, segment{text: text[from:i]})
		}
		seg.ctx, seg.lone = raw, true
		segs = append(segs, seg)
		i += n
		from = i
	}
	if from < len(text) {
		segs = append(segs, segment{text: text[from:]})
	}
	return segs, nil
}

func hasPlaceholder(segs []segment) bool {
	for _, s := range segs {
		if s.what != literal {
			return true
		}
	}
	return false
}

// String is the template's words, each in a form that tells it from every other
// list of words.
func (t *Template) String() string {
	var b strings.Builder
	b.WriteString(t.syntax.key())
	if t.argv {
		b.WriteString("argv:")
	}
	for _, w := range t.words {
		fmt.Fprintf(&b, "%d:%s,", len(w), w)
	}
	return b.String()
}

// NeedsTotal reports whether the number of all jobs stands in the template, {##}.
func (t *Template) NeedsTotal() bool {
	return slices.ContainsFunc(t.segments, func(segs []segment) bool { return has(segs, totalNumber) })
}

// has reports whether there is a segment of a kind, in repeated words as well.
func has(segs []segment, what kind) bool {
	return slices.ContainsFunc(segs, func(s segment) bool { return s.what == what || has(s.inner, what) })
}

// Numbers are what {#}, {%} and {##} stand for.
type Numbers struct {
	// Seq is the job's number in the input, from 1; Slot is the place where it runs, from 1;
	// Total is the number of all jobs.
	Seq, Slot, Total int
}

// Expand puts in the values and the numbers.
func (t *Template) Expand(values []string, at Numbers) (Command, error) {
	for i, v := range values {
		if strings.IndexByte(v, 0) >= 0 {
			return Command{}, fmt.Errorf("value %d holds a NUL byte, which no argument can: is the input separated by -0?", i+1)
		}
	}
	if t.whole {
		return Command{Text: strings.Join(values, " ")}, nil
	}
	e := expansion{t: t, values: values, at: at, only: -1}
	if t.syntax.Stdin {
		e.values = stdinValues
	}
	if !t.argv {
		if err := e.add(t.segments[0]); err != nil {
			return Command{}, err
		}
		return Command{Text: string(e.b)}, nil
	}
	argv, err := e.arguments()
	if err != nil {
		return Command{}, err
	}
	if len(argv) == 0 || argv[0] == "" {
		return Command{}, errors.New("the command is empty")
	}
	return Command{Text: quoteAll(argv), Argv: argv}, nil
}

// stdinValues are those of a job that reads its input: one that is empty, as in GNU parallel.
var stdinValues = []string{""}

// Line is an argument vector as one text, its words joined by blanks, and may be empty: of
// a template that says something about a job, as a tag does.
func (t *Template) Line(values []string, at Numbers) (string, error) {
	e := expansion{t: t, values: values, at: at, only: -1}
	if t.syntax.Stdin {
		e.values = stdinValues
	}
	argv, err := e.arguments()
	return strings.Join(argv, " "), err
}

// arguments is the whole argument vector.
func (e *expansion) arguments() (argv []string, err error) {
	for _, segs := range e.t.segments {
		words, err := e.words(segs)
		if err != nil {
			return nil, err
		}
		argv = append(argv, words...)
	}
	return argv, nil
}

// words is the arguments that one word of an argument vector becomes.
func (e *expansion) words(segs []segment) ([]string, error) {
	all := slices.ContainsFunc(segs, func(s segment) bool { return s.ofAll() })
	n := 1
	if all && (len(segs) == 1 || e.t.syntax.Packing == Repeated) {
		if n = len(e.values); n == 0 && len(segs) > 1 {
			n = 1 // the rest of the word is there
		}
	}
	var argv []string
	for i := range n {
		e.b, e.only = e.b[:0], -1
		if all && n > 1 {
			e.only = i
		}
		if err := e.add(segs); err != nil {
			return nil, err
		}
		if len(segs) == 1 && len(e.b) == 0 && e.missing(&segs[0]) {
			continue
		}
		argv = append(argv, string(e.b))
	}
	return argv, nil
}

// missing reports whether a segment names a value that is not there.
func (e *expansion) missing(s *segment) bool {
	return s.what == value && s.n != 0 && !s.fallback && e.index(s) < 0
}

// expansion builds one command.
type expansion struct {
	t      *Template
	b      []byte
	values []string
	at     Numbers
	only   int // the value that {} stands for in a repeated word; -1: all of them
}

func (e *expansion) add(segs []segment) error {
	for i := range segs {
		s := &segs[i]
		var err error
		switch s.what {
		case literal:
			e.b = append(e.b, s.text...)
		case seqNumber:
			e.put(s, strconv.Itoa(e.at.Seq))
		case slotNumber:
			e.put(s, strconv.Itoa(e.at.Slot))
		case totalNumber:
			e.put(s, strconv.Itoa(e.at.Total))
		case repeated:
			err = e.repeat(s)
		default:
			err = e.addValues(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// repeat adds a word for each value; without any it is there once, without one.
func (e *expansion) repeat(s *segment) error {
	if len(e.values) == 0 {
		return e.add(s.inner)
	}
	for i := range e.values {
		if i > 0 {
			e.b = append(e.b, ' ')
		}
		e.only = i
		if err := e.add(s.inner); err != nil {
			return err
		}
	}
	e.only = -1
	return nil
}

// index is the place of the value that a segment names, -1 if it is not there.
func (e *expansion) index(s *segment) int {
	i := s.n - 1
	if s.n < 0 {
		i = len(e.values) + s.n
	}
	if i >= len(e.values) {
		return -1
	}
	return max(i, -1)
}

// addValues adds the value or values that a replacement string stands for.
func (e *expansion) addValues(s *segment) error {
	from, to := 0, len(e.values)
	switch {
	case s.n != 0:
		if from = e.index(s); from < 0 {
			return e.addMissing(s)
		}
		to = from + 1
	case e.only >= 0:
		from, to = e.only, e.only+1
	}
	for i := from; i < to; i++ {
		if i > from {
			e.b = append(e.b, ' ')
		}
		if err := e.addValue(s, e.values[i]); err != nil {
			return err
		}
	}
	return nil
}

// addValue adds one value, changed as the segment says.
func (e *expansion) addValue(s *segment, v string) error {
	if s.change != nil {
		v = s.change(v)
	}
	if s.fallback && v == "" {
		v = s.preset
	}
	if s.ctx == inArithmetic && !isNumber(v) {
		return fmt.Errorf("the value %q stands in $((…)), where only a number is safe", v)
	}
	if strings.IndexByte(v, 0) >= 0 {
		return fmt.Errorf("%s makes a NUL byte, which no argument can hold", s.label)
	}
	e.put(s, v)
	return nil
}

// addMissing adds what stands for a value that is not there. An empty word in quotes keeps
// the text on both sides apart as the template was read; only a word by itself can
// be nothing.
func (e *expansion) addMissing(s *segment) error {
	switch {
	case s.fallback:
		return e.addValue(s, "")
	case e.t.syntax.Packing == OneRow && !e.t.syntax.Stdin:
		return fmt.Errorf("%s: there is no such value, this input has %d: add a source, or split the input into columns", s.label, len(e.values))
	case s.ctx == inArithmetic:
		e.b = append(e.b, '0')
	case !s.lone:
		e.put(s, "")
	}
	return nil
}

// put adds one value for its context.
func (e *expansion) put(s *segment, v string) {
	if s.split {
		e.b = append(e.b, '"', '"')
	}
	if (s.quote || s.makesKeyword(v)) && isBare(v) {
		e.b = append(e.b, '\'')
		e.b = append(e.b, v...)
		e.b = append(e.b, '\'')
		return
	}
	e.b = appendQuoted(e.b, s.ctx, v)
}

// makesKeyword reports whether a value and the letters around it could be one of the shell's keywords.
func (s *segment) makesKeyword(v string) bool {
	before, after := s.word[0], s.word[1]
	switch {
	case before == "" && after == "":
		return false // a value that is one by itself is not bare
	case before != "*" && after != "*":
		return reserved[before+v+after]
	}
	for word := range reserved {
		if strings.Contains(word, v) {
			return true
		}
	}
	return false
}

func isNumber(v string) bool {
	v = strings.TrimPrefix(v, "-")
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return v != ""
}

// baseName is what stands behind the last slash.
func baseName(v string) string { return v[strings.LastIndexByte(v, '/')+1:] }

// trimExt removes the last dot of the base name and what follows it, as GNU
// parallel does; but the names . and .. have no extension.
func trimExt(v string) string {
	base := v[strings.LastIndexByte(v, '/')+1:]
	i := strings.LastIndexByte(base, '.')
	if i < 0 || base == "." || base == ".." {
		return v
	}
	return v[:len(v)-len(base)+i]
}

// dirname is the directory's name as POSIX's dirname has it.
func dirname(v string) string {
	trimmed := strings.TrimRight(v, "/")
	if trimmed == "" && v != "" {
		return "/"
	}
	i := strings.LastIndexByte(trimmed, '/')
	if i < 0 {
		return "."
	}
	if dir := strings.TrimRight(trimmed[:i], "/"); dir != "" {
		return dir
	}
	return "/"
}
