package input

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"regexp"
	"slices"
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
	// input; each becomes a value of its own. Empty: no columns.
	ColSep string
}

// Rows yields the values of one job after the other: every combination of the
// sources, the last varying fastest; linked sources go in step, to the end of
// the shortest. The first source is read as it is needed, the others are
// held. An error ends the rows. Each row is the consumer's to keep.
func Rows(sources []Source, o Options) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		r, err := newReader(sources, o)
		if err != nil {
			yield(nil, err)
			return
		}
		r.rows(yield)
	}
}

// reader is what Rows works with.
type reader struct {
	groups [][]Source // each a source and those linked to it
	stdin  io.Reader
	delim  []byte
	colSep *regexp.Regexp
}

func newReader(sources []Source, o Options) (*reader, error) {
	if err := check(sources); err != nil {
		return nil, err
	}
	r := &reader{stdin: o.Stdin, delim: []byte("\n")}
	if len(sources) == 0 {
		sources = []Source{{path: "-", isFile: true, flag: "standard input"}}
	}
	for _, s := range sources {
		if s.linked && len(r.groups) > 0 {
			last := &r.groups[len(r.groups)-1]
			*last = append(*last, s)
			continue
		}
		r.groups = append(r.groups, []Source{s})
	}
	var err error
	switch {
	case o.Null && o.Delimiter != "":
		return nil, errors.New("-0 and -d both say how inputs end: use one of them")
	case o.Null:
		r.delim = []byte{0}
	case o.Delimiter != "":
		if r.delim, err = unescape(o.Delimiter); err != nil {
			return nil, err
		}
	}
	if o.ColSep != "" {
		if r.colSep, err = regexp.Compile(o.ColSep); err != nil {
			return nil, fmt.Errorf("--colsep %q is no regular expression: %w", o.ColSep, err)
		}
	}
	return r, nil
}

// unescape reads the escapes of -d.
func unescape(s string) ([]byte, error) {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case '0':
			out = append(out, 0)
		case '\\':
			out = append(out, '\\')
		case 'x':
			var b byte
			if i+2 >= len(s) {
				return nil, fmt.Errorf(`-d %q: \x needs two hexadecimal digits`, s)
			}
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &b); err != nil {
				return nil, fmt.Errorf(`-d %q: \x needs two hexadecimal digits`, s)
			}
			out = append(out, b)
			i += 2
		default:
			return nil, fmt.Errorf(`-d %q: \%c is not known: use \n, \t, \r, \0, \\ or \xHH`, s, s[i])
		}
	}
	return out, nil
}

// rows streams the first group and combines each of its rows with those of the others.
func (r *reader) rows(yield func([]string, error) bool) {
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
	for row, err := range r.group(r.groups[0]) {
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

// group yields the rows of linked sources.
func (r *reader) group(sources []Source) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		streams := make([]stream, len(sources))
		defer func() {
			for _, s := range streams {
				s.close()
			}
		}()
		for i, src := range sources {
			var err error
			if streams[i], err = r.open(src); err != nil {
				yield(nil, err)
				return
			}
		}
		for {
			row := make([]string, 0, len(streams))
			for i := range streams {
				record, err := streams[i].next()
				if err == io.EOF {
					return
				}
				if err != nil {
					yield(nil, err)
					return
				}
				if r.colSep != nil {
					row = append(row, r.colSep.Split(record, -1)...)
				} else {
					row = append(row, record)
				}
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// stream is an open source.
type stream struct {
	values  []string
	records *records
	file    *os.File
	name    string
}

// open opens a source.
func (r *reader) open(s Source) (stream, error) {
	if !s.isFile {
		return stream{values: s.values}, nil
	}
	if s.path == "-" {
		if r.stdin == nil {
			return stream{}, nil
		}
		return stream{records: newRecords(r.stdin, r.delim), name: "standard input"}, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		if pe := (*os.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		return stream{}, fmt.Errorf("%s %s: %w: name a file that can be read, or - for standard input", s.flag, s.path, err)
	}
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		f.Close()
		return stream{}, fmt.Errorf("%s %s: a directory: name a file (for the files in it: ls | brood run …, or ::: %s/*)", s.flag, s.path, s.path)
	}
	return stream{records: newRecords(f, r.delim), file: f, name: s.path}, nil
}

// next is the next record, io.EOF at the end.
func (s *stream) next() (string, error) {
	if s.records == nil {
		if len(s.values) == 0 {
			return "", io.EOF
		}
		v := s.values[0]
		s.values = s.values[1:]
		return v, nil
	}
	record, err := s.records.next()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s, after input %d: %w", s.name, s.records.count, err)
	}
	return record, err
}

func (s *stream) close() {
	if s.file != nil {
		s.file.Close()
	}
}
