package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// memoryMax is how much of one output is held in memory.
const memoryMax = 1 << 20

// buffer holds one output of a job: in memory, then in a temporary file without
// a name. A nil buffer is empty. It has one user at a time.
type buffer struct {
	dir    string // of the file
	mem    []byte
	file   *os.File
	window *io.SectionReader // instead of both: a part of the spool
	size   int64
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	if b.file == nil && len(b.mem)+len(p) > memoryMax {
		if err := b.spill(); err != nil {
			return 0, err
		}
	}
	if b.file == nil {
		b.mem = append(b.mem, p...)
		b.size += int64(len(p))
		return len(p), nil
	}
	n, err := b.file.WriteAt(p, b.size)
	b.size += int64(n)
	if err != nil {
		err = tempError(b.dir, err)
	}
	return n, err
}

// spill moves what is held to a file.
func (b *buffer) spill() error {
	f, err := openTemp(b.dir)
	if err == nil {
		if _, err = f.WriteAt(b.mem, 0); err != nil {
			f.Close()
		}
	}
	if err != nil {
		return tempError(b.dir, err)
	}
	b.file, b.mem = f, b.mem[:0]
	return nil
}

// errTemp marks an output that could not be kept: the job may have done its
// work, but it does not count as done.
var errTemp = errors.New("its output can't be kept")

func tempError(dir string, err error) error {
	return fmt.Errorf("%w: %w (temporary files are in %s: free some space, set TMPDIR to another directory, or use --lb or -u, which keep nothing)", errTemp, err, dir)
}

func (b *buffer) len() int64 {
	if b == nil {
		return 0
	}
	return b.size
}

func (b *buffer) reader() io.Reader {
	switch {
	case b == nil:
		return bytes.NewReader(nil)
	case b.window != nil:
		return io.NewSectionReader(b.window, 0, b.size)
	case b.file == nil:
		return bytes.NewReader(b.mem)
	}
	return io.NewSectionReader(b.file, 0, b.size)
}

// reset empties it for the next job; its memory is used again.
func (b *buffer) reset() {
	if b.file != nil {
		b.file.Close()
		b.file = nil
	}
	b.mem, b.size = b.mem[:0], 0
}

// outputs are the two buffers of a slot and what feeds them.
type outputs struct {
	stdout, stderr buffer
}

// lineWriter passes whole lines on, each with a tag in front, so that lines of
// different jobs never mix. A line that is not yet whole waits in a buffer.
type lineWriter struct {
	mu   *sync.Mutex // of w, shared with other jobs' writers
	w    io.Writer
	tag  string
	part buffer
	keep *buffer // a copy for the Result, or nil
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	if l.keep != nil {
		if _, err := l.keep.Write(p); err != nil {
			return 0, err
		}
	}
	end := bytes.LastIndexByte(p, '\n') + 1
	if end > 0 {
		if err := l.pass(p[:end]); err != nil {
			return 0, err
		}
	}
	if _, err := l.part.Write(p[end:]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// pass writes what was waiting and the whole lines after it.
func (l *lineWriter) pass(lines []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.part.size > 0 {
		if err := writeTagged(l.w, l.tag, io.MultiReader(l.part.reader(), bytes.NewReader(lines))); err != nil {
			return err
		}
		l.part.reset()
		return nil
	}
	return writeTagged(l.w, l.tag, bytes.NewReader(lines))
}

// flush writes a last line that has no newline.
func (l *lineWriter) flush() error {
	if l.part.size == 0 {
		return nil
	}
	err := l.pass(nil)
	l.part.reset()
	return err
}

// errOutput marks an error of where the output goes to, which ends the batch.
var errOutput = errors.New("write the output")

// writeTagged copies r to w with tag in front of every line.
func writeTagged(w io.Writer, tag string, r io.Reader) error {
	if err := WriteTagged(w, tag, r); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// WriteTagged copies r to w with tag in front of every line. An empty tag adds
// nothing.
func WriteTagged(w io.Writer, tag string, r io.Reader) error {
	if tag == "" {
		_, err := io.Copy(w, r)
		return err
	}
	in := make([]byte, 32<<10)
	var out []byte
	atStart := true
	for {
		n, err := r.Read(in)
		out = out[:0]
		for line := range bytes.Lines(in[:n]) {
			if atStart {
				out = append(out, tag...)
			}
			out = append(out, line...)
			atStart = line[len(line)-1] == '\n'
		}
		if len(out) > 0 {
			if _, werr := w.Write(out); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// openUnlinked opens a temporary file and removes its name.
func openUnlinked(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "brood-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
