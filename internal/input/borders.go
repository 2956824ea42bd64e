package input

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
)

// Borders say where a stream is cut into records. The zero value cuts after newlines.
type Borders struct {
	// Start begins a record, End ends one; where both are given only an End with a Start right
	// behind it is a border. The flags say whether they were given: both empty means that
	// a record may end anywhere.
	Start, End           string
	StartGiven, EndGiven bool
	// Regexp says that they are regular expressions (RE2, where ^ and $ match at lines); else
	// they are text with the escapes \n, \r, \t, \0, \\ and \xHH.
	Regexp bool
}

// borders finds the borders between records.
type borders struct {
	anywhere   bool
	start, end []byte
	both       []byte
	re         *regexp.Regexp // with one group, at whose end the border is
	head, tail *regexp.Regexp // a start and an end at the ends of a block
}

func newBorders(s Borders) (*borders, error) {
	if !s.StartGiven && !s.EndGiven {
		s.End, s.Regexp = `\n`, false
	}
	b := &borders{anywhere: s.Start == "" && s.End == ""}
	if b.anywhere {
		return b, nil
	}
	if !s.Regexp {
		var err1, err2 error
		b.start, err1 = unescape("--recstart", s.Start)
		b.end, err2 = unescape("--recend", s.End)
		b.both = bytes.Join([][]byte{b.end, b.start}, nil)
		return b, errors.Join(err1, err2)
	}
	for _, f := range []struct{ flag, text string }{{"--recstart", s.Start}, {"--recend", s.End}} {
		if _, err := regexp.Compile(f.text); err != nil {
			return nil, fmt.Errorf("%s %q is no regular expression: %w", f.flag, f.text, err)
		}
	}
	b.re = regexp.MustCompile("((?m:" + s.End + "))(?m:" + s.Start + ")")
	b.head = regexp.MustCompile("^(?m:" + s.Start + ")")
	b.tail = regexp.MustCompile("(?m:" + s.End + `)\z`)
	if b.re.Match(nil) {
		return nil, fmt.Errorf("--recstart %q --recend %q match an empty text, so that a record would end anywhere: use an expression that needs a character", s.Start, s.End)
	}
	return b, nil
}

// next is the first border in buf after its beginning. again is where a later search in
// the same buffer, when it has grown, may begin if there is none.
// An expression's match at the end of buf counts only at the end of the stream: with
// more behind it, it may be longer.
func (b *borders) next(buf []byte, eof bool) (border, again int) {
	if b.re != nil {
		for _, m := range b.re.FindAllSubmatchIndex(buf, 2) { // the first one may be at the beginning
			if m[3] > 0 && (eof || m[1] < len(buf)) {
				return m[3], 0
			}
		}
		return -1, 0
	}
	from := 0
	if len(b.end) == 0 {
		from = 1 // what begins here is this record
	}
	if len(buf) < from {
		return -1, 0
	}
	i := bytes.Index(buf[from:], b.both)
	if i < 0 {
		return -1, max(0, len(buf)-len(b.both))
	}
	return from + i + len(b.end), 0
}

// last is the last border in buf after its beginning, -1 if there is none.
func (b *borders) last(buf []byte) int {
	if b.anywhere {
		return len(buf)
	}
	if b.re == nil {
		i := bytes.LastIndex(buf, b.both)
		if i < 0 || i+len(b.end) == 0 {
			return -1
		}
		return i + len(b.end)
	}
	found := -1
	for _, m := range b.re.FindAllSubmatchIndex(buf, -1) {
		if m[3] > 0 && m[1] < len(buf) {
			found = m[3]
		}
	}
	return found
}

// strip takes the separators out of a block: those that stand in it, and none that only come about
// because another one was taken out.
func (b *borders) strip(block []byte) []byte {
	if b.anywhere {
		return block
	}
	out := make([]byte, 0, len(block))
	from := 0
	if b.re == nil {
		if bytes.HasPrefix(block, b.start) {
			from = len(b.start)
		}
		for {
			i := bytes.Index(block[from:], b.both)
			if i < 0 {
				return append(out, bytes.TrimSuffix(block[from:], b.end)...)
			}
			out = append(out, block[from:from+i]...)
			from += i + len(b.both)
		}
	}
	if m := b.head.FindIndex(block); m != nil {
		from = m[1]
	}
	for _, m := range b.re.FindAllIndex(block, -1) {
		if m[0] >= from {
			out = append(out, block[from:m[0]]...)
			from = m[1]
		}
	}
	rest := block[from:]
	if m := b.tail.FindIndex(rest); m != nil {
		rest = rest[:m[0]]
	}
	return append(out, rest...)
}
