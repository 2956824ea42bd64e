package batch

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The language of --rpl and of {= … =}: what GNU parallel's users mostly write there, without
// Perl. Steps stand one after the other, with ; in between, and each changes the value:
//
//	s/RE2/replacement/gi   any delimiter; \1, $1, ${1} and $& in the replacement
//	tr/a-z/A-Z/d  y///     bytes by position, ranges; d deletes those without a partner
//	uc  lc                 also as $_=uc($_)
//
// Letters are those of ASCII, as in Perl on bytes; all other bytes stay as they are.

// errEdit names the language.
var errEdit = errors.New(`use s/REGEXP/TEXT/ with the flags g and i, tr/abc/xyz/ (or y), uc and lc, with ; in between: there is no Perl here`)

// edits are the steps of one replacement string.
type edits []func(string) string

// apply changes a value.
func (e edits) apply(v string) string {
	for _, f := range e {
		v = f(v)
	}
	return v
}

// Rule is a replacement string of one's own. ParseRule makes one.
type Rule struct {
	// Tag is what stands in the template. One in braces has the forms {1TAG} and {nameTAG} too.
	Tag   string
	edits edits
	text  string
}

// ParseRule reads "TAG STEPS", as --rpl takes it: the tag, a blank, and what is done to
// the value, of s/RE2/TEXT/gi, tr/a-z/A-Z/d, uc and lc, with ; in between.
func ParseRule(s string) (Rule, error) {
	tag, text, _ := strings.Cut(s, " ")
	if err := checkTag(tag); err != nil {
		return Rule{}, err
	}
	e, err := parseEdits(text)
	if err != nil {
		return Rule{}, fmt.Errorf("%q: %w", s, err)
	}
	return Rule{Tag: tag, edits: e, text: s}, nil
}

// checkTag refuses a tag that a shell command could mean by itself.
func checkTag(tag string) error {
	switch {
	case tag == "":
		return errors.New("the tag is empty: write it first, then a blank and what is done, as in '{up} uc'")
	case strings.Contains(tag, "("):
		return fmt.Errorf("%q: a tag with an expression in it needs Perl: give each form a tag of its own", tag)
	case strings.ContainsAny(tag, " \t\r\n\x00\\'\"$`;&|()<>"):
		return fmt.Errorf("%q is no tag that a shell command could hold safely: use letters, braces, or characters as @ %% + , = : ^", tag)
	}
	return nil
}

// parseEdits reads the steps.
func parseEdits(text string) (edits, error) {
	var e edits
	for rest := text; ; {
		rest = strings.TrimLeft(rest, "; \t\n")
		if rest == "" {
			return e, nil
		}
		step, after, err := parseEdit(rest)
		if err != nil {
			return nil, err
		}
		after = strings.TrimLeft(after, " \t\n")
		if after != "" && after[0] != ';' {
			return nil, fmt.Errorf("%q is not understood: %w", after, errEdit)
		}
		e = append(e, step)
		rest = after
	}
}

var caseStep = lazily(`^(?:\$_\s*=\s*)?(uc|lc)(?:\s*\(\s*(?:\$_)?\s*\)|\s+\$_)?(?:\s|;|$)`)

// parseEdit reads one step.
func parseEdit(s string) (step func(string) string, rest string, err error) {
	if m := caseStep().FindStringSubmatchIndex(s); m != nil {
		end := m[1]
		if end > 0 && s[end-1] == ';' {
			end--
		}
		if s[m[2]:m[3]] == "uc" {
			return upper, s[end:], nil
		}
		return lower, s[end:], nil
	}
	op := ""
	for _, o := range []string{"tr", "s", "y"} {
		if r, ok := strings.CutPrefix(s, o); ok && r != "" && !isAlnum(r[0]) && strings.IndexByte(" \t\n;_", r[0]) < 0 {
			op = o
			break
		}
	}
	if op == "" {
		return nil, "", fmt.Errorf("%q is not understood: %w", s, errEdit)
	}
	from, to, flags, rest, err := cutDelimited(s[len(op):])
	if err != nil {
		return nil, "", fmt.Errorf("%q: %w", s, err)
	}
	if op == "s" {
		step, err = substitution(from, to, flags)
	} else {
		step, err = transliteration(from, to, flags)
	}
	return step, rest, err
}

// cutDelimited takes /from/to/flags apart. s{from}{to} is known too.
func cutDelimited(s string) (from, to, flags, rest string, err error) {
	if from, rest, err = cutPart(s); err != nil {
		return
	}
	if closing(s[0]) == s[0] {
		rest = s[:1] + rest
	} else if rest = strings.TrimLeft(rest, " \t\n"); rest == "" || closing(rest[0]) == rest[0] {
		return "", "", "", "", fmt.Errorf("the second part must stand between brackets as well")
	}
	if to, rest, err = cutPart(rest); err != nil {
		return
	}
	n := 0
	for n < len(rest) && isAlnum(rest[n]) {
		n++
	}
	return from, to, rest[:n], rest[n:], nil
}

// closing is the delimiter that ends what c begins.
func closing(c byte) byte {
	if i := strings.IndexByte("{[(<", c); i >= 0 {
		return "}])>"[i]
	}
	return c
}

// cutPart takes what stands between a delimiter and its partner. As in Perl a backslash
// before the delimiter is for the delimiter, and goes.
func cutPart(s string) (part, rest string, err error) {
	opened, end := s[0], closing(s[0])
	var b []byte
	depth := 1
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			if i++; s[i] != end || opened != end {
				b = append(b, '\\')
			}
		case s[i] == end:
			if depth--; depth == 0 {
				return string(b), s[i+1:], nil
			}
		case s[i] == opened:
			depth++
		}
		b = append(b, s[i])
	}
	return "", "", fmt.Errorf("a %c is missing", end)
}

// piece is literal text of a replacement, or a group.
type piece struct {
	text  string
	group int // -1: text
}

// substitution is s///.
func substitution(pattern, replacement, flags string) (func(string) string, error) {
	all := false
	for _, f := range flags {
		switch f {
		case 'g':
			all = true
		case 'i':
			pattern = "(?i:" + pattern + ")"
		default:
			return nil, fmt.Errorf("s///%s: the flag %c is not known: %w", flags, f, errEdit)
		}
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("%w (expressions are RE2's: without look-around and back references)", err)
	}
	pieces, err := parseReplacement(replacement, re.NumSubexp())
	if err != nil {
		return nil, err
	}
	n := 1
	if all {
		n = -1
	}
	return func(v string) string {
		var b []byte
		from := 0
		for _, m := range re.FindAllStringSubmatchIndex(v, n) {
			b = append(b, v[from:m[0]]...)
			for _, p := range pieces {
				if p.group < 0 {
					b = append(b, p.text...)
				} else if m[2*p.group] >= 0 {
					b = append(b, v[m[2*p.group]:m[2*p.group+1]]...)
				}
			}
			from = m[1]
		}
		if b == nil && from == 0 {
			return v
		}
		return string(append(b, v[from:]...))
	}, nil
}

var groupRef = lazily(`^(?:\$(\d+)|\$\{(\d+)\}|\\(\d)|\$(&))`)

// parseReplacement reads the second part of s///.
func parseReplacement(s string, groups int) (pieces []piece, err error) {
	for s != "" {
		if m := groupRef().FindStringSubmatch(s); m != nil {
			n := 0
			for _, digits := range m[1:4] {
				for _, d := range digits {
					n = min(n*10+int(d-'0'), 1000)
				}
			}
			if n > groups {
				return nil, fmt.Errorf("%s in the replacement: the expression has %d groups", m[0], groups)
			}
			pieces = append(pieces, piece{group: n})
			s = s[len(m[0]):]
			continue
		}
		if s[0] == '$' {
			return nil, fmt.Errorf(`%q in the replacement is no group: write \$ for the character: %w`, s, errEdit)
		}
		c := s[:1]
		if s[0] == '\\' && len(s) > 1 {
			if c, err = escaped(s[1]); err != nil {
				return nil, err
			}
			s = s[1:]
		}
		s = s[1:]
		pieces = append(pieces, piece{text: c, group: -1})
	}
	return pieces, nil
}

// escaped is the character that an escape stands for.
func escaped(c byte) (string, error) {
	switch {
	case c == 'n':
		return "\n", nil
	case c == 't':
		return "\t", nil
	case c == 'r':
		return "\r", nil
	case isAlnum(c):
		return "", fmt.Errorf(`\%c is not known: %w`, c, errEdit)
	}
	return string([]byte{c}), nil
}

// transliteration is tr///.
func transliteration(from, to, flags string) (func(string) string, error) {
	if strings.Trim(flags, "d") != "" {
		return nil, fmt.Errorf("tr///%s: only the flag d is known: %w", flags, errEdit)
	}
	remove := flags != ""
	a, err1 := byteSet(from)
	b, err2 := byteSet(to)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if len(b) == 0 && !remove {
		b = a
	}
	const deleted = -1
	var table [256]int
	var set [256]bool
	for i := range table {
		table[i] = i
	}
	for i, c := range a {
		switch {
		case set[c]: // the first one counts
		case i < len(b):
			table[c] = int(b[i])
		case remove:
			table[c] = deleted
		default:
			table[c] = int(b[len(b)-1])
		}
		set[c] = true
	}
	return func(v string) string {
		out := make([]byte, 0, len(v))
		for i := range len(v) {
			if c := table[v[i]]; c != deleted {
				out = append(out, byte(c))
			}
		}
		return string(out)
	}, nil
}

// byteSet reads a list of characters with ranges.
func byteSet(s string) (set []byte, err error) {
	ranged := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 0x80:
			return nil, fmt.Errorf("tr works on bytes, and %q has characters of several: use s///g", s)
		case c == '\\' && i+1 < len(s):
			i++
			e, err := escaped(s[i])
			if err != nil {
				return nil, err
			}
			c = e[0]
		case c == '-' && len(set) > 0 && !ranged && i+1 < len(s):
			ranged = true
			continue
		}
		if ranged {
			first := set[len(set)-1]
			if first > c {
				return nil, fmt.Errorf("tr: the range %c-%c is empty", first, c)
			}
			for b := int(first) + 1; b <= int(c); b++ {
				set = append(set, byte(b))
			}
			ranged = false
			continue
		}
		set = append(set, c)
	}
	return set, nil
}

// upper and lower change the letters of ASCII.
func upper(v string) string { return mapLetters(v, 'a', 'z') }
func lower(v string) string { return mapLetters(v, 'A', 'Z') }

func mapLetters(v string, from, to byte) string {
	b := []byte(v)
	for i, c := range b {
		if c >= from && c <= to {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}
