package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// patience is how long a store that somebody else has open is waited for. Nobody has
// it open for more than some milliseconds.
const patience = 250 * time.Millisecond

// ErrBusy is the error when the store was not to be had in time.
var ErrBusy = errors.New("the history is in use by another process")

// ErrOff is Path's error when no history is wanted.
var ErrOff = errors.New("BROOD_HISTORY is set to nothing, so no history is kept: unset it, or name a file")

// Path is where the store is: the file that BROOD_HISTORY names, else
// brood/history.db in $XDG_STATE_HOME, else in ~/.local/state.
func Path() (string, error) {
	if path, ok := os.LookupEnv("BROOD_HISTORY"); ok {
		if path == "" {
			return "", ErrOff
		}
		return path, nil
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) { // the specification wants these ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("there is no place for a history: %w: set it, or BROOD_HISTORY", err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "brood", "history.db"), nil
}

// Damage says that a store could not be used, and was set aside.
type Damage struct {
	Path  string
	Cause error

	file fs.FileInfo
}

// Error implements error.
func (d *Damage) Error() string {
	return fmt.Sprintf("the history %s is damaged (%v): it is now %s.damaged, and a new one begun", d.Path, d.Cause, d.Path)
}

// Unwrap is the cause.
func (d *Damage) Unwrap() error { return d.Cause }

// errReplaced is a store that lost its name while it was waited for.
var errReplaced = errors.New("the history was replaced")

// view reads the store. Its error matches fs.ErrNotExist if there is none.
func view(path string, f func(*store) error) error {
	err := patiently(path, false, f)
	if d := (*Damage)(nil); errors.As(err, &d) {
		if aerr := d.setAside(); aerr != nil {
			return aerr
		}
	}
	return err
}

// update changes the store, and makes it if there is none. f may be called twice.
func update(path string, f func(*store) error) error {
	err := patiently(path, true, f)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = patiently(path, true, f)
	}
	d := (*Damage)(nil)
	if !errors.As(err, &d) {
		return err
	}
	if err := d.setAside(); err != nil {
		return err
	}
	if err := patiently(path, true, f); err != nil {
		return err
	}
	return d
}

// patiently tries until the store is to be had.
func patiently(path string, write bool, f func(*store) error) error {
	return retry(func() error { return once(path, write, f) })
}

// retry calls f until it fails with anything but a lock that somebody else has.
func retry(f func() error) error {
	begin := time.Now()
	for {
		err := f()
		if !errors.Is(err, errHeld) && !errors.Is(err, errReplaced) {
			return err
		}
		if time.Since(begin) > patience {
			return ErrBusy
		}
		time.Sleep(time.Millisecond)
	}
}

// once opens the store, runs f in a transaction, and closes it again.
func once(path string, write bool, f func(*store) error) (err error) {
	var file *os.File
	var info fs.FileInfo
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a page that is not there
	defer func() {
		if v := recover(); v != nil {
			if file != nil { // the database and its mapping are left as they are
				unlock(file)
				file.Close()
			}
			err = &Damage{path, fmt.Errorf("%v", v), info}
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		ReadOnly: !write, Timeout: 1, NoSync: true, NoGrowSync: true, NoStatistics: true, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
			file, info, err = openLocked(path, flag, mode)
			return file, err
		},
	})
	if err != nil {
		return damaged(path, info, err)
	}
	run := func(tx *bbolt.Tx) error {
		if info.Size() > 0 && outlived(info.ModTime()) {
			if err := checkSound(tx, file, info); err != nil {
				return err
			}
		}
		s, err := newStore(tx)
		if err != nil {
			return err
		}
		return f(s)
	}
	if write {
		err = db.Update(run)
	} else {
		err = db.View(run)
	}
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	return damaged(path, info, err)
}

// openLocked opens the file for bbolt. The lock is taken here, and asked for again there:
// bbolt looks for it every 50 ms, and this file is free again after one.
func openLocked(path string, flag int, mode os.FileMode) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, nil, err
	}
	info, err := own(file, path, flag&os.O_RDWR != 0)
	if err == nil && info.Size() == 0 && flag&os.O_RDWR == 0 {
		err = fs.ErrNotExist // it is about to be made
	}
	if n := int64(os.Getpagesize()) * 2; err == nil && info.Size() > 0 && info.Size() < n {
		err = berrors.ErrInvalid
	}
	if err != nil {
		file.Close()
		return nil, info, err
	}
	return file, info, nil
}

// own takes the lock of an open file that has still its name.
func own(file *os.File, path string, exclusive bool) (fs.FileInfo, error) {
	if err := lock(file, exclusive); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if named, err := os.Stat(path); err != nil || !os.SameFile(info, named) {
		return nil, errReplaced
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	return info, nil
}

// damaged makes a Damage of an error that speaks of what is in the file.
func damaged(path string, info fs.FileInfo, err error) error {
	for _, bad := range []error{berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch, errRecord, errVersion, errForeign, errUnsound} {
		if errors.Is(err, bad) {
			return &Damage{path, bad, info}
		}
	}
	return err
}

// setAside renames the damaged file, unless somebody else has done so.
func (d *Damage) setAside() error {
	return retry(func() error {
		file, err := os.Open(d.Path)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		defer file.Close()
		info, err := own(file, d.Path, true)
		if err == nil && os.SameFile(info, d.file) {
			err = os.Rename(d.Path, d.Path+".damaged")
		}
		return err
	})
}
