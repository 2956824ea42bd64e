package input

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// stream is an open source.
type stream struct {
	values  []string
	records *records
	file    *os.File
	name    string
	count   int // of values
}

// open opens a source.
func (r *Reader) open(s Source) (*stream, error) {
	if !s.isFile {
		return &stream{values: s.values}, nil
	}
	if s.path == "-" {
		if r.options.Stdin == nil {
			return &stream{}, nil
		}
		return &stream{records: newRecords(r.options.Stdin, r.delim), name: "standard input"}, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		if pe := (*os.PathError)(nil); errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("%s %s: %w: name a file that can be read, or - for standard input", s.flag, s.path, err)
	}
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%s %s: a directory: name a file (for the files in it: ls | brood run …, or ::: %s/*)", s.flag, s.path, s.path)
	}
	return &stream{records: newRecords(f, r.delim), file: f, name: s.path}, nil
}

// record is the next record, io.EOF at the end.
func (s *stream) record() (string, error) {
	if s.records == nil {
		if len(s.values) == 0 {
			return "", io.EOF
		}
		v := s.values[0]
		s.values = s.values[1:]
		s.count++
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

// place says which input was read last, for errors.
func (s *stream) place() string {
	if s.records == nil {
		return fmt.Sprintf("value %d", s.count)
	}
	return fmt.Sprintf("%s, input %d", s.name, s.records.count)
}

// longest is the most bytes of lines that Continue joins. No command line can hold more; who has
// that has a file whose lines end in a blank without a reason, or in a carriage return.
const longest = 64 << 20

// text is the source's next input, joined with those that continue it; io.EOF at the end. The
// carriage return at the end of a header is left out.
func (r *Reader) text(s *stream, header bool) (string, error) {
	var joined []byte
	for {
		part, err := s.record()
		if header && s.records != nil {
			part = strings.TrimSuffix(part, "\r")
		}
		if err == io.EOF && len(joined) > 0 {
			return string(joined), nil
		}
		if err != nil {
			return "", err
		}
		if r.options.SkipEmpty && len(joined) == 0 && strings.Trim(part, blanks) == "" {
			continue
		}
		goesOn := r.options.Continue && (part == "" && len(joined) > 0 || part != "" && strings.IndexByte(blanks, part[len(part)-1]) >= 0)
		if !goesOn && len(joined) == 0 {
			return part, nil
		}
		if joined = append(joined, part...); !goesOn {
			return string(joined), nil
		}
		if len(joined) > longest {
			return "", fmt.Errorf("%s: -L joins lines that end in a blank (or in a carriage return, as those of Windows) with the next one, and these are more than %d bytes: take the blanks away, as with sed 's/[[:space:]]*$//'", s.place(), longest)
		}
	}
}

// next is the values of the source's next input, or its header; io.EOF at the end.
func (r *Reader) next(s *stream, header bool) ([]string, error) {
	text, err := r.text(s, header)
	if err != nil {
		return nil, err
	}
	values := []string{text}
	switch {
	case r.options.CSV:
		values, err = r.csv(s, text)
	case r.colSep != nil:
		values = r.colSep.Split(text, -1)
	}
	for i := range values {
		if strings.Contains(r.options.Trim, "l") {
			values[i] = strings.TrimLeft(values[i], blanks)
		}
		if strings.Contains(r.options.Trim, "r") {
			values[i] = strings.TrimRight(values[i], blanks)
		}
	}
	return values, err
}

// blanks is what --trim takes away.
const blanks = " \t\n\v\f\r"
