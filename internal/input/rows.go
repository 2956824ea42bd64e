package input

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// Options says how inputs are cut. The zero value reads lines.
type Options struct {
	// Stdin is what is read without any source, and for the file name "-".
	Stdin io.Reader
	// Null ends inputs with a NUL byte.
	Null bool
	// Delimiter ends inputs; \n, \r, \t, \0, \\ and \xHH are known. Empty: a newline.
	Delimiter string
	// ColSep is a regular expression (RE2) that separates columns within an
	// input; each becomes a value of its own. Empty: no columns. With CSV it is
	// the separator itself, with the escapes of Delimiter; empty: a comma.
	ColSep string
	// CSV reads records of RFC 4180: columns may stand in double quotes, and then hold
	// separators, newlines and doubled quotes. A carriage return before the newline is not
	// part of a record.
	CSV bool
	// Header takes the first input of each source as the names of its columns. A carriage
	// return at its end is not part of a name.
	Header bool
	// Link lets all sources go in step, to the end of the longest; the shorter ones start again.
	Link bool
	// Trim cuts blanks off each value: "l", "r", "lr" or "rl"; "" and "n" leave them.
	Trim string
	// SkipEmpty leaves out inputs that are empty or blank.
	SkipEmpty bool
	// Continue joins an input that ends in a blank with the next one of its source.
	Continue bool
}

// Reader is opened sources, read up to their headers.
type Reader struct {
	groups  [][]*stream // each a source and those linked to it
	names   []string
	options Options
	delim   []byte
	colSep  *regexp.Regexp
	comma   string
}

// Open opens the sources and reads their headers, if they have any. The reader must be
// closed, or its rows be read.
func Open(sources []Source, o Options) (*Reader, error) {
	if err := check(sources); err != nil {
		return nil, err
	}
	r := &Reader{options: o, delim: []byte("\n"), comma: ","}
	if err := r.configure(); err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		sources = []Source{{path: "-", isFile: true, flag: "standard input"}}
	}
	for _, src := range sources {
		s, err := r.open(src)
		if err != nil {
			r.Close()
			return nil, err
		}
		if n := len(r.groups); n > 0 && (src.linked || o.Link) {
			r.groups[n-1] = append(r.groups[n-1], s)
		} else {
			r.groups = append(r.groups, []*stream{s})
		}
		if !o.Header {
			continue
		}
		names, err := r.next(s, true)
		if err != nil && err != io.EOF {
			r.Close()
			return nil, err
		}
		r.names = append(r.names, names...)
	}
	return r, nil
}

// configure reads the options.
func (r *Reader) configure() (err error) {
	o := &r.options
	switch {
	case o.Null && o.Delimiter != "":
		return errors.New("-0 and -d both say how inputs end: use one of them")
	case o.CSV && (o.Null || o.Delimiter != ""):
		return errors.New("--csv says how inputs end, with a newline outside of quotes: leave -0 and -d away")
	case o.Null:
		r.delim = []byte{0}
	case o.Delimiter != "":
		if r.delim, err = unescape("-d", o.Delimiter); err != nil {
			return err
		}
	}
	switch o.Trim {
	case "", "n", "l", "r", "lr", "rl":
	default:
		return fmt.Errorf("--trim %q: use l, r or lr for blanks on the left, the right or both sides, n for none", o.Trim)
	}
	switch {
	case o.CSV && o.ColSep != "":
		sep, err := unescape("--colsep", o.ColSep)
		if err != nil {
			return err
		}
		if r.comma = string(sep); strings.ContainsAny(r.comma, "\"\r\n") {
			return fmt.Errorf("--colsep %q: with --csv columns can't be separated by quotes and line ends: use one character as , or ;", o.ColSep)
		}
	case o.ColSep != "":
		if r.colSep, err = regexp.Compile(o.ColSep); err != nil {
			return fmt.Errorf("--colsep %q is no regular expression: %w", o.ColSep, err)
		}
	}
	return nil
}

// Names are the names of the columns, source by source; none without a header.
func (r *Reader) Names() []string { return r.names }

// Close closes what is open.
func (r *Reader) Close() {
	for _, g := range r.groups {
		for _, s := range g {
			s.close()
		}
	}
}

// Rows yields the values of one job after the other: every combination of the
// sources, the last varying fastest; linked sources go in step, to the end of
// the shortest, or with Link to that of the longest. The first source is read as it is
// needed, the others are held. An error ends the rows. Each row is the consumer's to keep.
// The rows can be read once.
func (r *Reader) Rows() iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		defer r.Close()
		r.rows(yield)
	}
}

// Rows opens sources and yields their rows.
func Rows(sources []Source, o Options) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		r, err := Open(sources, o)
		if err != nil {
			yield(nil, err)
			return
		}
		r.Rows()(yield)
	}
}

// rows streams the first group and combines each of its rows with those of the others.
func (r *Reader) rows(yield func([]string, error) bool) {
	var inner [][][]string
	for _, g := range r.groups[1:] {
		var rows [][]string
		for row, err := range r.group(g) {
			if err != nil {
				yield(nil, err)
				return
			}
			rows = append(rows, row)
		}
		inner = append(inner, rows)
	}
	first := r.group(r.groups[0])
	if r.options.Link {
		first = r.linked(r.groups[0])
	}
	for row, err := range first {
		if err != nil {
			yield(nil, err)
			return
		}
		if !product(row, inner, yield) {
			return
		}
	}
}

// product yields first with every combination of the rest behind it.
func product(first []string, rest [][][]string, yield func([]string, error) bool) bool {
	if len(rest) == 0 {
		return yield(first, nil)
	}
	for _, row := range rest[0] {
		if !product(slices.Concat(first, row), rest[1:], yield) {
			return false
		}
	}
	return true
}

// group yields the rows of sources that go in step, to the end of the shortest.
func (r *Reader) group(streams []*stream) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for {
			var row []string
			for _, s := range streams {
				values, err := r.next(s, false)
				if err == io.EOF {
					return
				}
				if err != nil {
					yield(nil, err)
					return
				}
				if row == nil {
					row = values
				} else {
					row = append(row, values...)
				}
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// linked yields the rows of sources that go in step, to the end of the longest.
// What was read is held as long as its source may have to start again: not of the
// last one that goes on when the others have ended.
func (r *Reader) linked(streams []*stream) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		held := make([][][]string, len(streams))
		ended := make([]bool, len(streams))
		open := len(streams)
		for n := 0; ; n++ {
			parts := make([][]string, len(streams))
			for i, s := range streams {
				if ended[i] {
					continue
				}
				values, err := r.next(s, false)
				if err == io.EOF {
					if ended[i] = true; len(held[i]) == 0 && n == 0 {
						return // nothing to go in step with
					}
					open--
					continue
				}
				if err != nil {
					yield(nil, err)
					return
				}
				parts[i] = values
			}
			if open == 0 {
				return
			}
			for i := range streams {
				switch {
				case ended[i]:
					parts[i] = held[i][n%len(held[i])]
				case open > 1:
					held[i] = append(held[i], parts[i])
				default:
					held[i] = nil
				}
			}
			if !yield(slices.Concat(parts...), nil) {
				return
			}
		}
	}
}
