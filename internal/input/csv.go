package input

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

var (
	errOpenQuote  = errors.New(`a column begins with a " that no other one closes`)
	errAfterQuote = errors.New(`after a column in "…" comes something else than a separator`)
	errBareQuote  = errors.New(`a " stands within a column that does not begin with one: put the column in quotes and double the "`)
)

// csv cuts a record into columns. One that ends within quotes goes on in the next
// line, whose delimiter belongs to the column.
func (r *Reader) csv(s *stream, text string) ([]string, error) {
	if s.records != nil && strings.Count(text, `"`)%2 == 1 {
		if _, err := parseCSV(text, r.comma); err != errOpenQuote {
			return nil, fmt.Errorf("--csv: %s: %w", s.place(), err)
		}
		var b strings.Builder
		b.WriteString(text)
		for open := true; open; {
			part, err := s.record()
			if err == io.EOF {
				return nil, fmt.Errorf("--csv: %s: %w", s.place(), errOpenQuote)
			}
			if err != nil {
				return nil, err
			}
			b.Write(r.delim)
			b.WriteString(part)
			open = strings.Count(part, `"`)%2 == 0
		}
		text = b.String()
	}
	if s.records != nil {
		text = strings.TrimSuffix(text, "\r")
	}
	columns, err := parseCSV(text, r.comma)
	if err != nil {
		err = fmt.Errorf("--csv: %s: %w", s.place(), err)
	}
	return columns, err
}

// parseCSV cuts one whole record at a separator.
func parseCSV(text, comma string) (columns []string, err error) {
	for {
		if !strings.HasPrefix(text, `"`) {
			column, rest, more := strings.Cut(text, comma)
			if strings.Contains(column, `"`) {
				return nil, errBareQuote
			}
			columns = append(columns, column)
			if !more {
				return columns, nil
			}
			text = rest
			continue
		}
		var b strings.Builder
		text = text[1:]
		for {
			part, rest, ok := strings.Cut(text, `"`)
			if !ok {
				return nil, errOpenQuote
			}
			b.WriteString(part)
			if text = rest; !strings.HasPrefix(text, `"`) {
				break
			}
			b.WriteByte('"')
			text = text[1:]
		}
		columns = append(columns, b.String())
		if text == "" {
			return columns, nil
		}
		rest, ok := strings.CutPrefix(text, comma)
		if !ok {
			return nil, errAfterQuote
		}
		text = rest
	}
}
