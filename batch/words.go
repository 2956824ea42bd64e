package batch

import "errors"

// boundaries are the characters between the words of a shell command.
const boundaries = " \t\n;&|()<>"

// words follows where the words of a shell command begin and end, for templates that
// repeat them. The last of open is the word at the current position; before it stand
// those in whose substitutions it is.
type words struct {
	open  []word
	spans [][2]int // the words to repeat, in the order of their ends
}

type word struct {
	start  int
	all    bool // {} stands in it, beside substitutions
	inside bool // it stands in a substitution within it
	ever   bool // it stood in this word or one before it
}

var errInside = errors.New("a replacement string stands in a word and in a $(…) within the same word, so that it is not clear what is to be repeated for each value: set a variable, as in x=$(…); or leave one of them away")

// begin begins the words of a substitution or a subshell.
func (w *words) begin(at int) { w.open = append(w.open, word{start: at}) }

// take notes a replacement string.
func (w *words) take(s *segment) {
	top := &w.open[len(w.open)-1]
	top.all = top.all || s.ofAll()
}

// end ends a word; the next one begins behind the boundary there.
func (w *words) end(at int) error {
	top := &w.open[len(w.open)-1]
	if top.all && top.inside {
		return errInside
	}
	if top.all {
		w.spans = append(w.spans, [2]int{top.start, at})
	}
	*top = word{start: at + 1, ever: top.ever || top.all || top.inside}
	return nil
}

// close ends the words of a substitution or a subshell.
func (w *words) close(at int) error {
	if err := w.end(at); err != nil {
		return err
	}
	last := len(w.open) - 1
	ever := w.open[last].ever
	if w.open = w.open[:last]; last > 0 && ever {
		w.open[last-1].inside = true
	}
	return nil
}

// group puts the segments of each word to repeat into one.
func (w *words) group(segs []segment) (grouped []segment) {
	for len(segs) > 0 {
		s := segs[0]
		span, ok := w.at(s.pos, s.pos+len(s.text))
		switch {
		case !ok:
			grouped = append(grouped, s)
			segs = segs[1:]
		case s.pos < span[0]: // only literal text goes over a boundary
			n := span[0] - s.pos
			grouped = append(grouped, segment{text: s.text[:n], pos: s.pos})
			segs[0].text, segs[0].pos = s.text[n:], span[0]
		default:
			group := segment{what: repeated, pos: span[0]}
			for len(segs) > 0 && segs[0].pos < span[1] {
				s := segs[0]
				if over := s.pos + len(s.text) - span[1]; s.what == literal && over > 0 {
					n := len(s.text) - over
					group.inner = append(group.inner, segment{text: s.text[:n], pos: s.pos})
					segs[0].text, segs[0].pos = s.text[n:], span[1]
					break
				}
				group.inner = append(group.inner, s)
				segs = segs[1:]
			}
			grouped = append(grouped, group)
		}
	}
	return grouped
}

// at is the first span that a segment from start to end lies in or reaches into.
func (w *words) at(start, end int) (first [2]int, ok bool) {
	for _, span := range w.spans {
		if span[1] > start && (span[0] < end || span[0] == start) && (!ok || span[0] < first[0]) {
			first, ok = span, true
		}
	}
	return first, ok
}
