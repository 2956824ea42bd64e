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
// newline waits for it, up to a limit. Whoever reads them may be slow, or not read at
// all, so that they are written by another goroutine; when too many wait, it is Full, and
// the worker waits.
type prefixWriter struct {
	prefix string
	out    backlog
	ended  chan struct{} // nil: who calls Write asks whether it is full. Else Write waits while it is, until this is closed
	less   chan struct{} // room for one: Write is to look again, where it waits
	gaveUp chan struct{} // closed: what comes now is thrown away

	mu   sync.Mutex
	line []byte
}

// These keep the lines of all workers apart.
var stdoutMu, stderrMu sync.Mutex

// fullLines is how many bytes of lines may wait.
const fullLines = 64 << 10

// newPrefixWriter makes one that writes to w, with mu held, and calls room when it may
// be full no more.
func newPrefixWriter(w io.Writer, mu *sync.Mutex, prefix string, room func()) *prefixWriter {
	p := &prefixWriter{prefix: prefix, gaveUp: make(chan struct{}), less: make(chan struct{}, 1)}
	p.out.what, p.out.do = "writing a worker's output", func(line []byte) {
		full := p.out.size()+len(line) >= fullLines
		mu.Lock()
		w.Write(line) // if nobody can read it, there is nobody to tell
		mu.Unlock()
		if full {
			select {
			case p.less <- struct{}{}:
			default: // it will look
			}
			room()
		}
	}
	return p
}

// giveUp throws away what still comes, as it could not be written for too long.
func (w *prefixWriter) giveUp() { close(w.gaveUp) }

func (w *prefixWriter) hasGivenUp() bool {
	select {
	case <-w.gaveUp:
		return true
	default:
		return false
	}
}

// Full says that the worker has to wait. See child.Spec.
func (w *prefixWriter) Full() bool { return w.out.size() >= fullLines && !w.hasGivenUp() }

// Write implements io.Writer.
func (w *prefixWriter) Write(p []byte) (int, error) {
	for w.ended != nil && w.Full() {
		select {
		case <-w.less:
			continue
		case <-w.gaveUp:
		case <-w.ended:
		}
		break
	}
	w.mu.Lock()
	defer w.mu.Unlock()
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
		w.emit()
	}
	return n, nil
}

// flush writes what no newline has ended, when nothing more is to come.
func (w *prefixWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.line) > 0 {
		w.emit()
	}
}

// emit puts the line on its way. Called with mu held.
func (w *prefixWriter) emit() {
	if !w.hasGivenUp() {
		w.out.push([]byte(w.prefix + string(w.line) + "\n"))
	}
	w.line = w.line[:0]
}
