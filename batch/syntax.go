package batch

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Syntax is how templates are read. The zero value knows the replacement strings of
// Template.
type Syntax struct {
	// Names are those of the values, by place: {name} is the same as the value's number, also in
	// {name.} and the like. An empty name is none; of two that are the same the first counts. Where
	// there are names, what looks like one in braces and is not known is an error.
	Names []string
	// Rules are further replacement strings. They go before others of the same text.
	Rules []Rule
	// Replace is what stands for all values instead of {}, which then is plain text, and so is
	// {1}. Empty: {}.
	Replace string
	// Plus adds {..} {...} {/..} {/...} (without two, three extensions) and {+/} {+.} {+..} {+...}
	// (the directory, one extension, two, three), {:-default} as well.
	Plus bool
	// Packing says how a job's values are put in that come from several rows of the input.
	Packing Packing
	// Stdin says that jobs read their input from their standard input: replacement strings of
	// values stand for an empty one, and none is added.
	Stdin bool
}

// Packing is how several rows of the input stand in one command.
type Packing uint8

const (
	// OneRow is for jobs of one row each: a value that a template names must be there.
	OneRow Packing = iota
	// Joined puts all values where {} stands, with blanks in between: x{}y becomes xa by.
	Joined
	// Repeated repeats the word in which {} stands for each value: x{}y becomes xay xby.
	// As with Joined, a value that is named and not there is nothing.
	Repeated
)

// Template reads a command for a shell: its words joined by blanks.
func (s Syntax) Template(words []string) (*Template, error) {
	g, err := s.grammar()
	if err != nil {
		return nil, err
	}
	t := &Template{words: words, syntax: s}
	text := strings.Join(words, " ")
	if !s.Stdin && text == g.all && g.changes(text) {
		seg, _, err := g.match(text)
		seg.ctx = raw // the value is the command, and what the rule makes of it
		t.segments = [][]segment{{seg}}
		return t, err
	}
	if !s.Stdin && (text == "" || text == g.all) {
		t.whole = true
		return t, nil
	}
	segs, err := g.parseShell(text)
	if err == nil && !s.Stdin && !hasPlaceholder(segs) {
		segs, err = g.parseShell(text + " " + g.all)
	}
	if err != nil {
		return nil, fmt.Errorf("the command %q: %w", text, err)
	}
	t.segments = [][]segment{segs}
	return t, nil
}

// Argv reads a command that is started without a shell: each word is one argument, and a
// word that is {} alone becomes one for each value.
func (s Syntax) Argv(words []string) (*Template, error) { return s.argv(words, !s.Stdin) }

// Text reads a text that is no command, as a tag: where no replacement string is, none is added.
func (s Syntax) Text(text string) (*Template, error) { return s.argv([]string{text}, false) }

// argv reads words, to which {} is added if they have no replacement string and add says so.
func (s Syntax) argv(words []string, add bool) (*Template, error) {
	g, err := s.grammar()
	if err != nil {
		return nil, err
	}
	t := &Template{words: words, argv: true, syntax: s}
	found := false
	for _, w := range words {
		segs, err := g.parseRaw(w)
		if err != nil {
			return nil, fmt.Errorf("the argument %q: %w", w, err)
		}
		found = found || hasPlaceholder(segs)
		t.segments = append(t.segments, segs)
	}
	if !found && add {
		segs, err := g.parseRaw(g.all)
		if err != nil {
			return nil, err
		}
		t.segments = append(t.segments, segs)
	}
	return t, nil
}

// key tells a syntax from every other one; "" is the zero value's.
func (s *Syntax) key() string {
	if len(s.Names) == 0 && len(s.Rules) == 0 && s.Replace == "" && !s.Plus && s.Packing == OneRow && !s.Stdin {
		return ""
	}
	rules := make([]string, len(s.Rules))
	for i, r := range s.Rules {
		rules[i] = r.text
	}
	return fmt.Sprintf("syntax:%q,%q,%q,%t,%d,%t:", s.Names, rules, s.Replace, s.Plus, s.Packing, s.Stdin)
}

// grammar is a syntax made ready for reading.
type grammar struct {
	all   string // what stands for all values
	plain bool   // that is {}, and {1} a value
	tags  []Rule
	ops   map[string]func(string) string
	names []string
	syn   *Syntax
}

// operators are what may stand behind a number or name in braces.
var operators = map[string]func(string) string{
	"": nil, ".": trimExt, "/": baseName, "//": dirname,
	"/.": func(v string) string { return trimExt(baseName(v)) },
}

var (
	twoExt        = lazily(`\.[^/.]+\.[^/.]+$`)
	threeExt      = lazily(`\.[^/.]+\.[^/.]+\.[^/.]+$`)
	plusOperators = map[string]func(string) string{
		"..":   func(v string) string { return twoExt().ReplaceAllString(v, "") },
		"...":  func(v string) string { return threeExt().ReplaceAllString(v, "") },
		"/..":  func(v string) string { return twoExt().ReplaceAllString(baseName(v), "") },
		"/...": func(v string) string { return threeExt().ReplaceAllString(baseName(v), "") },
		"+/": func(v string) string {
			return v[:max(strings.LastIndexByte(v, '/'), 0)]
		},
		"+.": func(v string) string {
			i := strings.LastIndexByte(v, '.')
			if i < 0 {
				return ""
			}
			return v[i+1:]
		},
		"+..":  func(v string) string { return strings.TrimPrefix(twoExt().FindString(v), ".") },
		"+...": func(v string) string { return strings.TrimPrefix(threeExt().FindString(v), ".") },
	}
)

func (s Syntax) grammar() (*grammar, error) {
	g := &grammar{all: "{}", plain: true, ops: make(map[string]func(string) string), names: s.Names, syn: &s}
	for op, f := range operators {
		g.ops[op] = f
	}
	if s.Plus {
		for op, f := range plusOperators {
			g.ops[op] = f
		}
	}
	g.tags = append(g.tags, s.Rules...)
	if s.Replace != "" && s.Replace != "{}" {
		if err := checkTag(s.Replace); err != nil {
			return nil, err
		}
		delete(g.ops, "")
		g.all, g.plain = s.Replace, false
		g.tags = append(g.tags, Rule{Tag: s.Replace})
	}
	for _, r := range s.Rules {
		if suffix, ok := strings.CutPrefix(r.Tag, "{"); ok && strings.HasSuffix(suffix, "}") {
			g.ops[strings.TrimSuffix(suffix, "}")] = r.edits.apply
		}
	}
	return g, nil
}

// changes reports whether there is a rule of that tag.
func (g *grammar) changes(tag string) bool {
	return slices.ContainsFunc(g.syn.Rules, func(r Rule) bool { return r.Tag == tag })
}

// match reads a replacement string at the start of s; length 0: there is none.
func (g *grammar) match(s string) (seg segment, length int, err error) {
	for _, r := range g.tags {
		if strings.HasPrefix(s, r.Tag) && len(r.Tag) > length {
			seg, length = segment{what: value, label: r.Tag, change: r.edits.apply}, len(r.Tag)
		}
	}
	if len(s) < 2 || s[0] != '{' {
		return seg, length, nil
	}
	if s[1] == '=' {
		if end := strings.Index(s[2:], "=}"); end >= 0 && 4+end > length {
			seg, err = g.inline(s[2 : 2+end])
			seg.label = s[:4+end]
			return seg, 4 + end, err
		}
	}
	end := strings.IndexByte(s, '}')
	if end < 0 || end+1 <= length {
		return seg, length, nil
	}
	if found, ok := g.braces(s[1:end]); ok {
		found.label = s[:end+1]
		return found, end + 1, nil
	}
	if length == 0 && g.looksNamed(s[1:end]) {
		return seg, 0, fmt.Errorf("%s: there is no such column, they are %s: where it is no replacement string, put a blank or quotes within the braces, as in { %s }", s[:end+1], g.columns(), s[1:end])
	}
	return seg, length, nil
}

// looksNamed reports whether somebody will have meant a column by what stands between braces, with
// an operator or without: letters, digits, _ and -, and blanks if there are names with blanks. What
// a shell, awk or sed has between braces mostly has other characters in it, too.
func (g *grammar) looksNamed(inside string) bool {
	named, blanks := false, false
	for _, name := range g.names {
		named, blanks = named || name != "", blanks || strings.Contains(name, " ")
	}
	first, _ := utf8.DecodeRuneInString(inside)
	if !named || first != '_' && !unicode.IsLetter(first) {
		return false
	}
	op := strings.TrimLeftFunc(inside, func(r rune) bool {
		return r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r) || r == ' ' && blanks
	})
	_, known := g.ops[op]
	return (known || op == "") && !strings.HasSuffix(strings.TrimSuffix(inside, op), " ")
}

// columns lists the names.
func (g *grammar) columns() string {
	const most = 20
	var list []string
	for _, name := range g.names {
		if name != "" && len(list) < most {
			list = append(list, "{"+name+"}")
		}
	}
	if len(g.names) > most {
		list = append(list, "…")
	}
	return strings.Join(list, " ")
}

// braces reads what stands between braces.
func (g *grammar) braces(inside string) (seg segment, ok bool) {
	best := -1
	for i, name := range g.names {
		rest, has := strings.CutPrefix(inside, name)
		if !has || name == "" || len(name) <= best {
			continue
		}
		if s, ok := g.operator(rest, true); ok {
			seg, best = s, len(name)
			seg.n = i + 1
		}
	}
	if best >= 0 {
		return seg, true
	}
	switch inside {
	case "#":
		return segment{what: seqNumber}, true
	case "%":
		return segment{what: slotNumber}, true
	case "##":
		return segment{what: totalNumber}, true
	}
	n, rest, ok := cutNumber(inside)
	if !ok {
		return seg, false
	}
	if seg, ok = g.operator(rest, n != 0); !ok || rest == "" && n != 0 && !g.plain {
		return seg, false
	}
	seg.n = n
	return seg, true
}

// operator reads what stands behind a number or name.
func (g *grammar) operator(op string, named bool) (seg segment, ok bool) {
	seg.what = value
	if f, known := g.ops[op]; known || op == "" && named {
		seg.change = f
		return seg, true
	}
	text, ok := strings.CutPrefix(op, ":")
	short, dash := strings.CutPrefix(text, "-")
	if !ok || !named && !(dash && g.syn.Plus) {
		return seg, false
	}
	seg.fallback, seg.preset = true, short
	return seg, true
}

// lazily compiles an expression when it is first needed: every brood run pays for what is done before.
func lazily(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

var numberPrefix = lazily(`^-?[1-9][0-9]*`)

// cutNumber takes a number off the beginning; 0 is none.
func cutNumber(s string) (n int, rest string, ok bool) {
	if s == "" || s[0] != '-' && (s[0] < '1' || s[0] > '9') {
		return 0, s, true
	}
	digits := numberPrefix().FindString(s)
	if digits == "" {
		return 0, s, true
	}
	n, err := strconv.Atoi(digits)
	return n, s[len(digits):], err == nil
}

// inline reads {= … =}.
func (g *grammar) inline(text string) (seg segment, err error) {
	seg.what = value
	word, rest, _ := strings.Cut(strings.TrimLeft(text, " "), " ")
	if n, after, ok := cutNumber(word); ok && n != 0 && after == "" && text[0] != ' ' {
		seg.n, text = n, rest
	} else {
		for i, name := range g.names {
			if after, ok := strings.CutPrefix(text, name+" "); ok && name != "" {
				seg.n, text = i+1, after
				break
			}
		}
	}
	steps, err := parseEdits(text)
	if err != nil {
		return seg, fmt.Errorf("{=%s=}: %w", text, err)
	}
	seg.change = steps.apply
	return seg, nil
}
