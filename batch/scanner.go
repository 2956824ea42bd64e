package batch

import (
	"errors"
	"fmt"
	"strings"
)

// scanner follows a shell command far enough to know where in it a value would
// stand: which quotes and substitutions are open. What it can't follow for
// certain makes it unsure, and a replacement string after that is refused: a
// value in the wrong quotes is a command that somebody else wrote.
type scanner struct {
	g      *grammar
	text   string
	pos    int
	from   int // of the literal text not yet in segs
	segs   []segment
	open   []byte // what is open: '"', '(' (of $( and of subshells), '+' (of $(( and of ((), 'p' (a ( in that)
	tests  int    // up to where a [[ … ]] of bash goes
	counts bool   // and numbers are compared in it
	unsure string // why the context is not known any more
	words  words
}

var (
	errBackslash = errors.New(`a backslash stands right before a replacement string: take it away, values are quoted as it is`)
	errDollar    = errors.New(`a $ stands right before a replacement string: write \$ for the character itself`)
	errTail      = errors.New("a quote, or a $( or `, is not closed: close it, or put a backslash before a character that stands for itself")
)

// parseShell cuts shell text into literal text and replacement strings.
func (g *grammar) parseShell(text string) ([]segment, error) {
	s := &scanner{g: g, text: text, words: words{open: []word{{}}}}
	for s.pos < len(s.text) {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	if s.from < len(text) {
		s.segs = append(s.segs, segment{text: text[s.from:], pos: s.from})
	}
	if len(s.open) > 0 && s.unsure == "" && hasPlaceholder(s.segs) {
		return nil, errTail
	}
	if g.syn.Packing != Repeated {
		return s.segs, nil
	}
	for len(s.words.open) > 0 {
		if err := s.words.close(len(text)); err != nil {
			return nil, err
		}
	}
	return s.words.group(s.segs), nil
}

// top is the innermost thing that is open, 0 for none.
func (s *scanner) top() byte {
	if len(s.open) == 0 {
		return 0
	}
	return s.open[len(s.open)-1]
}

func (s *scanner) quoting() quoting {
	switch s.top() {
	case '"':
		return inDouble
	case '+', 'p':
		return inArithmetic
	}
	return alone
}

// rest is the text from the current position.
func (s *scanner) rest() string { return s.text[s.pos:] }

// step reads one element at the current position.
func (s *scanner) step() error {
	if seg, n, err := s.g.match(s.rest()); err != nil || n > 0 {
		if err != nil {
			return err
		}
		return s.take(seg, n, s.quoting())
	}
	c := s.text[s.pos]
	switch {
	case s.quoting() == inArithmetic:
		return s.arithmetic(c)
	case c == '\\':
		if _, n, err := s.g.match(s.text[min(s.pos+1, len(s.text)):]); err != nil || n > 0 {
			return errBackslash
		}
		s.pos = min(s.pos+2, len(s.text))
	case c == '"':
		if s.top() == '"' {
			s.pop()
		} else {
			s.open = append(s.open, '"')
		}
		s.pos++
	case c == '$':
		return s.dollar()
	case c == '`':
		return s.backquote()
	case s.top() == '"':
		s.pos++
	default:
		return s.bareChar(c)
	}
	return nil
}

func (s *scanner) pop() { s.open = s.open[:len(s.open)-1] }

// bareChar reads a character outside of all quotes.
func (s *scanner) bareChar(c byte) error {
	if strings.IndexByte(boundaries, c) >= 0 {
		if err := s.words.end(s.pos); err != nil {
			return err
		}
	}
	switch {
	case c == '\'':
		s.pos++
		return s.until("'", inSingle)
	case strings.HasPrefix(s.rest(), "(("):
		s.open = append(s.open, '+')
		s.pos++
	case c == '(':
		s.open = append(s.open, '(')
		s.words.begin(s.pos + 1)
	case strings.HasPrefix(s.rest(), "[[") && s.atWordStart():
		s.tested()
	case c == ')':
		if s.top() == '(' { // nothing else: a stray one closes nothing
			s.pop()
			if err := s.words.close(s.pos); err != nil {
				return err
			}
		}
	case c == '#' && s.atWordStart():
		end := strings.IndexByte(s.rest(), '\n')
		if end < 0 {
			end = len(s.rest())
		}
		return s.skip(end, "in a comment: it ends the command for the value's next line")
	case strings.HasPrefix(s.rest(), "<<<"):
		s.pos += 3
		return s.words.end(s.pos - 1)
	case strings.HasPrefix(s.rest(), "<<"):
		s.unsure = "after a here-document: use a file or a pipe (printf '%s\\n' {} | command)"
	case len(s.open) > 0 && strings.HasPrefix(s.rest(), "case") && s.atWordStart():
		s.unsure = "after a case in $(…): move the command into a script"
	}
	s.pos++
	return nil
}

// arithmetic reads a character of $((…)) or ((…)). What ends in a single parenthesis was none, but
// nested subshells: what stood in it was held to be numbers, which is right in both.
func (s *scanner) arithmetic(c byte) error {
	switch c {
	case '(':
		s.open = append(s.open, 'p')
	case ')':
		top := s.top()
		s.pop()
		if top == 'p' {
			break
		}
		if !strings.HasPrefix(s.rest(), "))") {
			s.unsure = "after a (( that does not end in )): write ( ( with a blank for nested subshells"
		} else {
			s.pos++
		}
	case '"', '\'', '\\':
		s.unsure = "after a quote or backslash in ((…)): set a variable first"
	case '$':
		return s.dollar()
	case '`':
		return s.backquote()
	}
	s.pos++
	return nil
}

// comparison is what makes bash take the words of a [[ … ]] for arithmetic, or for the name of
// a variable, in which it would run a substitution.
var comparison = lazily(`\s-(?:eq|ne|lt|le|gt|ge|v)\s`)

// tested notes how far a [[ … ]] goes, and what is done in it.
func (s *scanner) tested() {
	inside := s.rest()
	if end := strings.Index(inside, "]]"); end >= 0 {
		inside = inside[:end]
	}
	s.tests, s.counts = s.pos+len(inside), comparison().MatchString(inside)
}

// evaluators are the builtins that take a word for arithmetic, or for the name of a variable with
// its subscript, which is arithmetic.
var evaluators = lazily(`^(?:let|declare|typeset|local|readonly|unset|read|mapfile|readarray|getopts)$`)

// assigned is the beginning of an assignment to an element of an array, subscript the beginning of one.
var (
	subscript = lazily(`^[A-Za-z_][A-Za-z0-9_]*\[[^\]]*$`)
	assigned  = lazily(`^[^\]\s]*\]\+?=`)
)

// evaluated reports whether the shell would take a value there for more than text. As bash runs
// $(…) in a subscript, quotes do not help.
func (s *scanner) evaluated(before, after string) error {
	word := before[strings.LastIndexAny(before, boundaries)+1:]
	command := strings.Fields(before[strings.LastIndexAny(before, "\n;&|()")+1:])
	for len(command) > 0 && (reserved[command[0]] || command[0] == "!" || command[0] == "{" || command[0] == "command" || command[0] == "builtin" || strings.Contains(command[0], "=")) {
		command = command[1:]
	}
	last := ""
	if n := len(command); word == "" && n > 0 {
		last = command[n-1]
	} else if n > 1 {
		last = command[n-2]
	}
	switch {
	case s.pos < s.tests && s.counts:
		return errors.New("a replacement string stands in a [[ … ]] that compares numbers or asks for a variable, where bash would run what is in the value: use [ … ]")
	case subscript().MatchString(word) && assigned().MatchString(after):
		return errors.New("a replacement string stands in the subscript of an array, where bash would run what is in the value: set a variable first, and use it there if it is a number")
	case strings.HasSuffix(last, "<") || strings.HasSuffix(last, ">"): // a file, or what is read
	case len(command) > 1 || len(command) == 1 && word == "":
		name := command[0]
		names := evaluators().MatchString(name) && (name == "let" || !strings.Contains(word, "=") || strings.Contains(strings.Join(command, " "), " -i"))
		if names || last == "-v" && (name == "test" || name == "[" || name == "printf") {
			return fmt.Errorf("a replacement string stands in a word that %s takes for arithmetic or for a variable's name, in which bash would run what is in the value: use $((…)), [ … ], or a name of your own", name)
		}
	}
	return nil
}

// atWordStart reports whether a word could begin here.
func (s *scanner) atWordStart() bool {
	return s.pos == 0 || strings.IndexByte(" \t\n;&|()", s.text[s.pos-1]) >= 0
}

// skip passes over n bytes in which no replacement string may stand.
func (s *scanner) skip(n int, why string) error {
	end := s.pos + n
	for ; s.pos < end; s.pos++ {
		if _, n, err := s.g.match(s.rest()); err != nil || n > 0 {
			return errors.New("a replacement string stands " + why)
		}
	}
	return nil
}

// until reads up to an end within a kind of quotes.
func (s *scanner) until(end string, ctx quoting) error {
	for s.pos < len(s.text) {
		if strings.HasPrefix(s.rest(), end) {
			s.pos += len(end)
			return nil
		}
		if seg, n, err := s.g.match(s.rest()); err != nil || n > 0 {
			if err != nil {
				return err
			}
			if err := s.take(seg, n, ctx); err != nil {
				return err
			}
			continue
		}
		s.pos++
	}
	return errTail
}

// take ends the literal text and adds a replacement string of n bytes.
func (s *scanner) take(seg segment, n int, ctx quoting) error {
	if s.unsure != "" {
		return errors.New("a replacement string stands " + s.unsure)
	}
	before, after := s.text[:s.pos], s.text[s.pos+n:]
	name := endsInVariable(before)
	switch {
	case ctx == alone && name && strings.HasSuffix(before, "$"):
		return errDollar
	case ctx == alone:
		if err := s.evaluated(before, after); err != nil {
			return err
		}
		seg.lone = atEnd(before, false) && atEnd(after, true)
		seg.quote = name || strings.HasPrefix(after, ">") || strings.HasPrefix(after, "<") || s.pos < s.tests || meansMore(before)
		seg.word = s.letters(before, after)
	case ctx == inDouble:
		seg.split = name
	}
	seg.ctx, seg.pos = ctx, s.pos
	s.words.take(&seg)
	if s.pos > s.from {
		s.segs = append(s.segs, segment{text: s.text[s.from:s.pos], pos: s.from})
	}
	s.segs = append(s.segs, seg)
	s.pos += n
	s.from = s.pos
	return nil
}

// atEnd reports whether text ends in a blank, or begins with one, or is empty: a word beside
// it may be left out, and what is left is read as before.
func atEnd(text string, beginning bool) bool {
	if text == "" {
		return true
	}
	c := text[len(text)-1]
	if beginning {
		c = text[0]
	}
	return c == ' ' || c == '\t' || c == '\n'
}

// meansMore reports whether a bare character behind that would be taken up: a name behind a tilde, a
// range between brackets.
func meansMore(before string) bool {
	word := before[strings.LastIndexAny(before, boundaries)+1:]
	return strings.HasSuffix(word, "~") || strings.LastIndexByte(word, '[') > strings.LastIndexByte(word, ']')
}

// letters are those around a replacement string, if they alone make a word with it: it might become a
// keyword of the shell. A "*" stands for another replacement string.
func (s *scanner) letters(before, after string) (around [2]string) {
	head := strings.TrimRight(before[:strings.LastIndexAny(before, boundaries)+1], " \t")
	if head != "" && strings.IndexByte("\n;&|()", head[len(head)-1]) < 0 {
		words := append([]string{""}, strings.Fields(head)...)
		if last := words[len(words)-1]; !reserved[last] && last != "{" && last != "!" {
			return around // no keyword is expected here
		}
	}
	i := len(before)
	for i > 0 && before[i-1] >= 'a' && before[i-1] <= 'z' {
		i--
	}
	around[0] = before[i:]
	if i == s.from && len(s.segs) > 0 && s.segs[len(s.segs)-1].what != literal {
		around[0] = "*"
	} else if i > 0 && strings.IndexByte(boundaries, before[i-1]) < 0 {
		return [2]string{}
	}
	i = 0
	for i < len(after) && after[i] >= 'a' && after[i] <= 'z' {
		i++
	}
	around[1] = after[:i]
	if _, n, err := s.g.match(after[i:]); err == nil && n > 0 {
		around[1] = "*"
	} else if i < len(after) && strings.IndexByte(boundaries, after[i]) < 0 {
		return [2]string{}
	}
	return around
}

// endsInVariable reports whether text ends in $ or $name, which the value's first
// characters would become part of.
func endsInVariable(text string) bool {
	i := len(text)
	for i > 0 && (text[i-1] == '_' || isAlnum(text[i-1])) {
		i--
	}
	if i == 0 || text[i-1] != '$' {
		return false
	}
	slashes := 0
	for j := i - 2; j >= 0 && text[j] == '\\'; j-- {
		slashes++
	}
	return slashes%2 == 0
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// dollar reads what begins with a dollar sign.
func (s *scanner) dollar() error {
	rest := s.rest()
	switch {
	case strings.HasPrefix(rest, "$(("):
		s.open = append(s.open, '+')
		s.pos += 3
	case strings.HasPrefix(rest, "$["):
		s.unsure = "after a $[, which is arithmetic to bash: use $((…))"
		s.pos += 2
	case strings.HasPrefix(rest, "$("):
		s.open = append(s.open, '(')
		s.pos += 2
		s.words.begin(s.pos)
	case strings.HasPrefix(rest, "${"):
		return s.parameter()
	case strings.HasPrefix(rest, "$'") && s.top() != '"':
		end := strings.IndexByte(rest[2:], '\'')
		if end < 0 {
			return errTail
		}
		if strings.Contains(rest[2:2+end], `\`) {
			// bash and sh may disagree where it ends.
			s.unsure = `after $'…' with a backslash: use '…' or a script`
		}
		return s.skip(end+3, `in $'…': use '…' or "…"`)
	default:
		s.pos++
	}
	return nil
}

// parameter passes over ${…}, which is the shell's, also where its inside looks
// like a replacement string, as in ${1}.
func (s *scanner) parameter() error {
	depth := 0
	for i := s.pos + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				inside := s.text[s.pos+2 : i]
				if seg, n, _ := s.g.match("{" + inside + "}"); n == len(inside)+2 && seg.n == 0 && (seg.what == value || seg.what == slotNumber) {
					return errDollar // ${#} and ${1} are the shell's, ${} and ${.} nobody's
				}
				s.pos++ // past the dollar sign: the name's own braces are no replacement string
				if strings.ContainsAny(inside, "'\"`$(\\") {
					s.unsure = "after a ${…} with quotes or substitutions in it: set a variable first"
				}
				s.pos++
				return s.skip(i+1-s.pos, "in ${…}: set a variable first, as in x={}; echo ${x%.*}")
			}
		}
	}
	return errTail
}

// backquote passes over `…`.
func (s *scanner) backquote() error {
	end := s.pos + 1
	for ; end < len(s.text) && s.text[end] != '`'; end++ {
		if s.text[end] == '\\' {
			end++
		}
	}
	if end >= len(s.text) {
		return errTail
	}
	return s.skip(end+1-s.pos, "between backquotes: use $(…)")
}
