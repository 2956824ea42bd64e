package batch

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// ErrInput is why a job failed whose Input could not be read to its end.
var ErrInput = errors.New("its input can't be read")

// feed is a job's standard input on its way to the process: a goroutine copies a Job's Input into a
// pipe. The job need not read it all. The writing end is this process's alone, and closed on exec
// everywhere; the job's end is open here as well until the job has ended, so that the pipe is
// never without a reader before there is one.
type feed struct {
	r, w *os.File
	src  io.ReadCloser
	size int64
	done sync.WaitGroup
	err  error // of src
}

// openFeed begins to copy.
func openFeed(in Input) (*feed, error) {
	src, err := in.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	f := &feed{src: src, size: in.Size()}
	if f.r, f.w, err = os.Pipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrInput, err), src.Close())
	}
	f.done.Go(f.copy)
	return f, nil
}

func (f *feed) copy() {
	from := &source{r: f.src}
	n, err := io.Copy(f.w, from)
	f.w.Close()
	switch {
	case from.err != nil:
		f.err = fmt.Errorf("%w: %w", ErrInput, from.err)
	case err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed):
		f.err = fmt.Errorf("%w: %w", ErrInput, err)
	case err == nil && n != f.size:
		f.err = fmt.Errorf("%w: it has %d of %d bytes, and was changed while the batch ran", ErrInput, n, f.size)
	}
}

// close ends the copying, if the job has left something unread or another process still has the
// pipe, and returns the error of the source. A nil feed has none.
func (f *feed) close() error {
	if f == nil {
		return nil
	}
	f.r.Close()
	f.w.Close()
	f.done.Wait()
	err := f.src.Close()
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrInput, err)
	}
	return cmp.Or(f.err, err)
}

// source keeps the error of a reader apart from those of the pipe.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
