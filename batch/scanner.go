package batch

import (
	"errors"
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
	open   []byte // what is open: '"', '(' (of $( and of subshells)
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
	if s.top() == '"' {
		return inDouble
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
	case c == '(':
		s.open = append(s.open, '(')
		s.words.begin(s.pos + 1)
	case c == ')':
		if s.top() == '(' {
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

// until reads up to an end within a kind of quotes or arithmetic.
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
		seg.lone = atEnd(before, false) && atEnd(after, true)
		seg.quote = name || strings.HasPrefix(after, ">") || strings.HasPrefix(after, "<")
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
		s.pos += 3
		return s.until("))", inArithmetic)
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
