package batch

import (
	"errors"
	"fmt"
	"regexp"
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
//	{#}  {%}                    the job's number; its slot's
//
// With several values {} is all of them, with a blank in between. It is added
// as a last word if there is no replacement string. A template without words,
// or of {} alone, stands for a whole command in the value.
//
// In shell text the values are quoted for where they stand: alone, between
// single or double quotes, in a command substitution; they always arrive
// literally. Where that can't be done a template is refused. Text that goes
// through a second shell (sh -c '{}', eval, ssh) is read twice: pass the value
// as an argument there (sh -c 'echo "$1"' sh {}).
type Template struct {
	words    []string
	argv     bool
	whole    bool        // the value is the command
	segments [][]segment // of each word of argv; of the one text
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
	text  string
	what  kind
	op    string // "", ".", "/", "//", "/."
	n     int    // which value, from 1 or, negative, from the end; 0: all
	ctx   quoting
	quote bool // bare characters are not enough: its neighbours would take it up
	split bool // in double quotes: close and open them first
}

type kind uint8

const (
	literal kind = iota
	value
	seqNumber
	slotNumber
)

var placeholder = regexp.MustCompile(`^\{(?:(#)|(%)|(-?[1-9][0-9]*)?(\.|//|/\.|/)?)\}`)

// parsePlaceholder reads a replacement string at the start of s.
func parsePlaceholder(s string) (seg segment, length int, ok bool) {
	if len(s) < 2 || s[0] != '{' {
		return seg, 0, false
	}
	m := placeholder.FindStringSubmatch(s)
	if m == nil {
		return seg, 0, false
	}
	seg = segment{what: value, op: m[4]}
	switch {
	case m[1] != "":
		seg.what = seqNumber
	case m[2] != "":
		seg.what = slotNumber
	case m[3] != "":
		n, err := strconv.Atoi(m[3])
		if err != nil {
			return seg, 0, false
		}
		seg.n = n
	}
	return seg, len(m[0]), true
}

// ParseTemplate reads a command for a shell: its words joined by blanks.
func ParseTemplate(words []string) (*Template, error) {
	t := &Template{words: words}
	text := strings.Join(words, " ")
	if text == "" || text == "{}" {
		t.whole = true
		return t, nil
	}
	segs, err := parseShell(text)
	if err == nil && !hasPlaceholder(segs) {
		segs, err = parseShell(text + " {}")
	}
	if err != nil {
		return nil, fmt.Errorf("the command %q: %w", text, err)
	}
	t.segments = [][]segment{segs}
	return t, nil
}

// ParseArgv reads a command that is started without a shell: each word is one
// argument, and a word that is {} alone becomes one for each value.
func ParseArgv(words []string) (*Template, error) {
	t := &Template{words: words, argv: true}
	found := false
	for _, w := range words {
		segs := parseRaw(w)
		found = found || hasPlaceholder(segs)
		t.segments = append(t.segments, segs)
	}
	if !found {
		t.segments = append(t.segments, parseRaw("{}"))
	}
	return t, nil
}

// parseRaw finds the replacement strings in text that no shell reads.
func parseRaw(text string) (segs []segment) {
	from := 0
	for i := 0; i < len(text); {
		seg, n, ok := parsePlaceholder(text[i:])
		if !ok {
			i++
			continue
		}
		if i > from {
			segs = append(segs, segment{text: text[from:i]})
		}
		seg.ctx = raw
		segs = append(segs, seg)
		i += n
		from = i
	}
	if from < len(text) {
		segs = append(segs, segment{text: text[from:]})
	}
	return segs
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
	if t.argv {
		b.WriteString("argv:")
	}
	for _, w := range t.words {
		fmt.Fprintf(&b, "%d:%s,", len(w), w)
	}
	return b.String()
}

// Expand puts in the values. seq and slot stand for {#} and {%}.
func (t *Template) Expand(values []string, seq, slot int) (Command, error) {
	for i, v := range values {
		if strings.IndexByte(v, 0) >= 0 {
			return Command{}, fmt.Errorf("value %d holds a NUL byte, which no argument can: is the input separated by -0?", i+1)
		}
	}
	if t.whole {
		return Command{Text: strings.Join(values, " ")}, nil
	}
	e := expansion{values: values, seq: seq, slot: slot}
	if !t.argv {
		if err := e.add(t.segments[0]); err != nil {
			return Command{}, err
		}
		return Command{Text: e.b.String()}, nil
	}
	var argv []string
	for _, segs := range t.segments {
		if len(segs) == 1 && segs[0].what == value && segs[0].n == 0 {
			for _, v := range values {
				argv = append(argv, transform(v, segs[0].op))
			}
			continue
		}
		e.b.Reset()
		if err := e.add(segs); err != nil {
			return Command{}, err
		}
		argv = append(argv, e.b.String())
	}
	if len(argv) == 0 || argv[0] == "" {
		return Command{}, errors.New("the command is empty")
	}
	return Command{Text: quoteAll(argv), Argv: argv}, nil
}

// expansion builds one command.
type expansion struct {
	b         strings.Builder
	values    []string
	seq, slot int
}

func (e *expansion) add(segs []segment) error {
	for i := range segs {
		s := &segs[i]
		switch s.what {
		case literal:
			e.b.WriteString(s.text)
			continue
		case seqNumber:
			e.put(s, strconv.Itoa(e.seq))
			continue
		case slotNumber:
			e.put(s, strconv.Itoa(e.slot))
			continue
		}
		if err := e.addValues(s); err != nil {
			return err
		}
	}
	return nil
}

// addValues adds the value or values that a replacement string stands for.
func (e *expansion) addValues(s *segment) error {
	from, to := 0, len(e.values)
	if s.n != 0 {
		from = s.n - 1
		if s.n < 0 {
			from = len(e.values) + s.n
		}
		if from < 0 || from >= len(e.values) {
			return fmt.Errorf("{%d%s}: there is no such value, this input has %d: add a source, or split the input into columns", s.n, s.op, len(e.values))
		}
		to = from + 1
	}
	for i := from; i < to; i++ {
		if i > from {
			e.b.WriteByte(' ')
		}
		v := transform(e.values[i], s.op)
		if s.ctx == inArithmetic && !isNumber(v) {
			return fmt.Errorf("the value %q stands in $((…)), where only a number is safe", v)
		}
		e.put(s, v)
	}
	return nil
}

// put adds one value for its context.
func (e *expansion) put(s *segment, v string) {
	if s.split {
		e.b.WriteString(`""`)
	}
	if s.quote && isBare(v) {
		e.b.WriteString("'" + v + "'")
		return
	}
	appendQuoted(&e.b, s.ctx, v)
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

// transform does what stands after the number in a replacement string, as GNU
// parallel does.
func transform(v, op string) string {
	switch op {
	case ".":
		return trimExt(v)
	case "/":
		return v[strings.LastIndexByte(v, '/')+1:]
	case "/.":
		return trimExt(v[strings.LastIndexByte(v, '/')+1:])
	case "//":
		return dirname(v)
	}
	return v
}

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
