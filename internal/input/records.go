package input

import (
	"bufio"
	"bytes"
	"io"
)

// records cuts a stream at a delimiter. A record is returned as soon as it has
// been read, however slowly the stream goes on; a last one without a delimiter
// counts.
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
		case err == io.EOF && len(s.long) > 0:
			return s.take(s.long)
		default:
			return "", err
		}
	}
}

func (s *records) take(b []byte) (string, error) {
	s.count++
	record := string(b)
	if cap(s.long) > 1<<20 {
		s.long = nil // one long record must not hold its memory for ever
	}
	return record, nil
}
