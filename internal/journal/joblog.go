package journal

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"
)

// Row is one line of a job log: a job that has ended.
type Row struct {
	Seq      int
	Host     string
	Start    time.Time
	Runtime  time.Duration
	Send     int64 // bytes sent to the job; GNU parallel writes 0 for local jobs
	Receive  int64 // bytes of standard output
	ExitCode int
	Signal   int
	Command  string
}

// logHeader is the first line, GNU parallel's.
const logHeader = logColumns + "Starttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"

// logColumns begin every header.
const logColumns = "Seq\tHost\t"

// appendRow appends the line of r. A newline in the command becomes a NUL byte, as
// GNU parallel writes it: no command holds one, so nothing is lost.
func appendRow(b []byte, r *Row) []byte {
	return fmt.Appendf(b, "%d\t%s\t%.3f\t%10.3f\t%d\t%d\t%d\t%d\t%s\n",
		r.Seq, r.Host, float64(r.Start.UnixMilli())/1000, r.Runtime.Seconds(), r.Send, r.Receive, r.ExitCode, r.Signal,
		strings.ReplaceAll(r.Command, "\n", "\x00"))
}

// parseRow reads a line without its newline.
func parseRow(line []byte) (r Row, err error) {
	f := strings.SplitN(string(line), "\t", 9)
	if len(f) != 9 {
		return r, fmt.Errorf("it has %d of the 9 columns", len(f))
	}
	number := func(s string) int64 {
		n, perr := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if perr != nil && err == nil {
			err = perr
		}
		return n
	}
	seconds := func(s string) float64 {
		v, perr := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if perr != nil && err == nil {
			err = perr
		}
		return v
	}
	r = Row{
		Seq: int(number(f[0])), Host: f[1], Start: time.UnixMilli(int64(seconds(f[2])*1000 + 0.5)),
		Runtime: time.Duration(seconds(f[3])*1000+0.5) * time.Millisecond,
		Send:    number(f[4]), Receive: number(f[5]), ExitCode: int(number(f[6])), Signal: int(number(f[7])),
		Command: strings.ReplaceAll(f[8], "\x00", "\n"),
	}
	return r, err
}

// ReadLog yields the rows of a job log, GNU parallel's or ours. A last line
// without its end, which a killed writer leaves, is no row.
func ReadLog(path string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer f.Close()
		ReadLogFrom(f, path)(yield)
	}
}

// ReadLogFrom is ReadLog of what is open already; name is for errors.
func ReadLogFrom(f io.Reader, name string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		r := bufio.NewReaderSize(f, 64<<10)
		for n := 1; ; n++ {
			line, err := r.ReadBytes('\n')
			if err == io.EOF {
				return
			}
			if err == nil && n == 1 && bytes.HasPrefix(line, []byte(logColumns)) {
				continue
			}
			var row Row
			if err == nil {
				row, err = parseRow(line[:len(line)-1])
			}
			if err != nil {
				yield(row, fmt.Errorf("%s, line %d: not a line of a job log: %w", name, n, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Log appends to a job log.
type Log struct {
	f   appendFile
	buf []byte
}

// OpenLog opens the job log at path: emptied, or with resume as it is. What a
// killed writer left of a last line is cut off. A file that holds something else
// is left as it is, and an error. Who has it open is its only writer.
func OpenLog(path string, resume bool) (*Log, error) {
	f, err := openLog(path)
	if err != nil {
		return nil, err
	}
	l := &Log{f: appendFile{File: f}}
	if err := l.begin(resume); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

// openLog opens a file, or what is none: a pipe that nobody may read from here.
func openLog(path string) (*os.File, error) {
	if !IsFile(path) {
		return os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	}
	return openFile(path)
}

// IsFile reports whether a job log at path can be read again: it is a file, or
// will be one. A pipe, a terminal or /dev/stderr is none.
func IsFile(path string) bool {
	fi, err := os.Stat(path)
	return err != nil || fi.Mode().IsRegular() || fi.IsDir()
}

// begin takes the lock, sees what is there, and writes the header of an empty log.
func (l *Log) begin(resume bool) error {
	if !IsFile(l.f.Name()) {
		return l.f.append([]byte(logHeader))
	}
	if err := l.f.own(); err != nil {
		return err
	}
	if err := checkFirst(l.f.File); err != nil {
		return err
	}
	var end int64
	var err error
	if resume {
		end, err = lastLine(l.f.File)
	} else {
		err = l.f.Truncate(0)
	}
	if err == nil && end == 0 {
		err = l.f.append([]byte(logHeader))
	}
	return err
}

// CheckLog reports an error if there is a file at path that is no job log.
func CheckLog(path string) error {
	if !IsFile(path) {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil // not there, or OpenLog says what is wrong
	}
	defer f.Close()
	return checkFirst(f)
}

// checkFirst reports an error if the first line is none of a job log.
func checkFirst(f *os.File) error {
	line, err := bufio.NewReaderSize(io.NewSectionReader(f, 0, 4096), 4096).ReadSlice('\n')
	switch {
	case err != nil && err != io.EOF && err != bufio.ErrBufferFull:
		return err
	case strings.HasPrefix(logHeader, string(line)), bytes.HasPrefix(line, []byte(logColumns)):
		return nil
	}
	if f := bytes.Split(line, []byte("\t")); len(f) >= 9 {
		if _, err := strconv.Atoi(string(f[0])); err == nil {
			return nil // a log without its header
		}
	}
	return fmt.Errorf("%s is no job log and would be overwritten: remove it, or choose another file", f.Name())
}

// lastLine cuts a file off after its last newline and returns its length.
func lastLine(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := fi.Size()
	buf := make([]byte, 4096)
	for end := size; end > 0; {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			end = end - n + int64(i) + 1
			if end < size {
				err = f.Truncate(end)
			}
			return end, err
		}
		end -= n
	}
	return 0, f.Truncate(0)
}

// Append adds a row in one write. Calls must not overlap.
func (l *Log) Append(r *Row) error {
	l.buf = appendRow(l.buf[:0], r)
	return l.f.append(l.buf)
}

// Sync makes the rows survive a power cut. It may overlap with Append.
func (l *Log) Sync() error {
	if fi, err := l.f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return err // a pipe or terminal keeps nothing
	}
	return l.f.Sync()
}

// Close closes the log.
func (l *Log) Close() error { return l.f.Close() }
