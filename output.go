package brood

import (
	"bytes"
	"io"
	"sync"
)

// tailSize is how much of a worker's output is kept.
const tailSize = 8 << 10

// tailWriter keeps the end of what is written.
type tailWriter struct {
	mu  sync.Mutex
	buf []byte
}

// Write implements io.Writer.
func (w *tailWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf, p...)
	if n := len(w.buf); n > 2*tailSize {
		w.buf = append(w.buf[:0], w.buf[n-tailSize:]...)
	}
	return len(p), nil
}

// bytes is the end of what was written, at most tailSize.
func (w *tailWriter) bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.buf[max(0, len(w.buf)-tailSize):])
}

// prefixWriter writes whole lines, each with a prefix. What does not end with a
// newline waits for it, up to a limit.
type prefixWriter struct {
	to     io.Writer
	prefix string
	line   []byte
}

// prefixMu keeps the lines of all workers apart.
var prefixMu sync.Mutex

// Write implements io.Writer.
func (w *prefixWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.line = append(w.line, p...)
			if len(w.line) < tailSize {
				break
			}
			p = nil
		} else {
			w.line = append(w.line, p[:i]...)
			p = p[i+1:]
		}
		if err := w.emit(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// flush writes what no newline has ended, when nothing more is to come.
func (w *prefixWriter) flush() {
	if len(w.line) > 0 {
		w.emit()
	}
}

// emit writes the line.
func (w *prefixWriter) emit() error {
	prefixMu.Lock()
	defer prefixMu.Unlock()
	_, err := w.to.Write([]byte(w.prefix + string(w.line) + "\n"))
	w.line = w.line[:0]
	return err
}
