package input

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// records cuts a stream at a delimiter. A record is returned as soon as it has
// been read, however slowly the stream goes on; a last one without a delimiter
// counts. A byte order mark before the first one is no part of it.
type records struct {
	r     *bufio.Reader
	delim []byte
	long  []byte // of a record larger than the reader's buffer
	count int
}

func newRecords(r io.Reader, delim []byte) *records {
	return &records{r: bufio.NewReaderSize(r, 64<<10), delim: delim}
}

// next returns the next record without its delimiter, io.EOF at the end.
func (s *records) next() (string, error) {
	last := s.delim[len(s.delim)-1]
	s.long = s.long[:0]
	for {
		part, err := s.r.ReadSlice(last)
		if err == nil && len(s.long) == 0 && bytes.HasSuffix(part, s.delim) {
			return s.take(part[:len(part)-len(s.delim)])
		}
		s.long = append(s.long, part...)
		switch {
		case err == nil && bytes.HasSuffix(s.long, s.delim):
			return s.take(s.long[:len(s.long)-len(s.delim)])
		case err == nil || err == bufio.ErrBufferFull:
		case err == io.EOF && len(s.long) > 0 && (s.count > 0 || !bytes.Equal(s.long, byteOrderMark)):
			return s.take(s.long)
		default:
			return "", err
		}
	}
}

// byteOrderMark is what programs on Windows write before text in UTF-8.
var byteOrderMark = []byte("\xef\xbb\xbf")

func (s *records) take(b []byte) (string, error) {
	if s.count++; s.count == 1 {
		b = bytes.TrimPrefix(b, byteOrderMark)
	}
	record := string(b)
	if cap(s.long) > 1<<20 {
		s.long = nil // one long record must not hold its memory for ever
	}
	return record, nil
}

// unescape reads the escapes of a flag's value.
func unescape(flag, s string) ([]byte, error) {
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
		case '0', '1', '2', '3', '4', '5', '6', '7': // up to three octal digits
			b, end := 0, i
			for ; end < len(s) && end < i+3 && s[end] >= '0' && s[end] <= '7'; end++ {
				b = 8*b + int(s[end]-'0')
			}
			if b > 255 {
				return nil, fmt.Errorf(`%s %q: \%s is no byte: the largest is \377`, flag, s, s[i:end])
			}
			out = append(out, byte(b))
			i = end - 1
		case '\\':
			out = append(out, '\\')
		case 'x':
			var b byte
			if i+2 >= len(s) {
				return nil, fmt.Errorf(`%s %q: \x needs two hexadecimal digits`, flag, s)
			}
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &b); err != nil {
				return nil, fmt.Errorf(`%s %q: \x needs two hexadecimal digits`, flag, s)
			}
			out = append(out, b)
			i += 2
		default:
			return nil, fmt.Errorf(`%s %q: \%c is not known: use \n, \t, \r, \0, \\, \xHH or \NNN`, flag, s, s[i])
		}
	}
	return out, nil
}
