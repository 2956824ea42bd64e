package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// appendFile is a file opened for appending of which one process is the writer.
type appendFile struct {
	*os.File
	torn error // the file ends in half a line that could not be cut off
}

// openFile opens a file of a job log for appending, and creates it.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		err = fmt.Errorf("%w: choose another file, in a directory that is there and can be written to", err)
	}
	return f, err
}

// own makes this process the only writer, until the file is closed or the
// process dies.
func (f *appendFile) own() error {
	err := lock(f.File)
	if !errors.Is(err, errHeld) {
		if err != nil {
			err = fmt.Errorf("%s can't be locked: %w: choose a job log on a local disk", f.Name(), err)
		}
		return err
	}
	if pid := holder(f.File); pid != 0 {
		return fmt.Errorf("%s, open in process %d: %w", f.Name(), pid, ErrLocked)
	}
	return fmt.Errorf("%s: %w", f.Name(), ErrLocked)
}

// append writes b in one write or, if that fails half-way, nothing: what was
// written is cut off again.
func (f *appendFile) append(b []byte) error {
	if f.torn != nil {
		return f.torn
	}
	n, err := f.Write(b)
	if err == nil || n == 0 {
		return err
	}
	fi, serr := f.Stat()
	if serr == nil && !fi.Mode().IsRegular() {
		return err // a pipe or terminal: what is written is gone
	}
	if serr == nil {
		serr = f.Truncate(fi.Size() - int64(n))
	}
	if serr != nil {
		f.torn = fmt.Errorf("%w; half a line is left that can't be cut off: %w", err, serr)
		return f.torn
	}
	return err
}

// syncDir makes the name of a new journal survive a power cut. A platform that
// can't sync a directory does so by itself, and a directory that can't be read
// can't be synced: neither is an error.
func (j *Journal) syncDir() error {
	if d, err := os.Open(filepath.Dir(j.path)); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
}
