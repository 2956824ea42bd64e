package space

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/shm"
)

// suffix ends the name of a space's file.
const suffix = ".space"

// directory is the directory of a user's spaces, opened.
type directory struct {
	path string
	fd   int
}

// openDirectory opens a directory, and creates it if asked to. It must belong to this user
// alone: whoever could put files there could pass his own memory off as a space.
func openDirectory(path string, create bool) (*directory, error) {
	var fd int
	for {
		if create {
			if err := unix.Mkdir(path, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
				return nil, fmt.Errorf("space: create directory %s: %w", path, err)
			}
		}
		var err error
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			break
		}
		if create && errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) {
			continue // the last one to leave has just removed it
		}
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
			return nil, fmt.Errorf("space: %s must be a directory, and no symbolic link: %w", path, err)
		}
		return nil, fmt.Errorf("space: open directory %s: %w", path, err)
	}
	d := &directory{path, fd}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		d.close()
		return nil, fmt.Errorf("space: directory %s: %w", path, err)
	}
	if err := private("directory ", path, st, 0o700); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *directory) close() { _ = unix.Close(d.fd) }

// private says what is wrong with something that must be this user's alone.
func private(kind, path string, st unix.Stat_t, mode uint32) error {
	if uid := os.Geteuid(); st.Uid != uint32(uid) {
		return fmt.Errorf("space: %s%s belongs to user %d, not to user %d: choose another directory with %s", kind, path, st.Uid, uid, DirVar)
	}
	if st.Mode&0o077 != 0 {
		return fmt.Errorf("space: %s%s has mode %04o: others may use it; take that away with chmod %o %s, or choose another directory with %s",
			kind, path, st.Mode&0o7777, mode, path, DirVar)
	}
	return nil
}

// pathOf is the path of a space's file.
func (d *directory) pathOf(name string) string { return filepath.Join(d.path, name+suffix) }

// open opens a space's file, and says what is wrong with it if it can't be one.
func (d *directory) open(name string, flags int) (*shm.File, unix.Stat_t, error) {
	return d.openFile(name+suffix, flags)
}

// openFile opens a file of a space, and says what is wrong with it if it can't be one.
func (d *directory) openFile(file string, flags int) (*shm.File, unix.Stat_t, error) {
	path := filepath.Join(d.path, file)
	f, err := shm.OpenAt(d.fd, file, flags)
	if err != nil {
		if errors.Is(err, unix.ELOOP) {
			err = fmt.Errorf("a space must not be a symbolic link: %w", err)
		}
		return nil, unix.Stat_t{}, fmt.Errorf("space: open %s: %w", path, err)
	}
	st, err := f.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("space: %s: %w", path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("space: %s is no regular file", path)
	default:
		err = private("", path, st, 0o600)
	}
	if err != nil {
		f.Close()
		return nil, st, err
	}
	return f, st, nil
}

// names reports whether the name of a space still means this file.
func (d *directory) names(name string, f *shm.File) bool { return d.means(name+suffix, f) }

// means reports whether a file's name still means this file.
func (d *directory) means(file string, f *shm.File) bool {
	st, err := f.Stat()
	if err != nil || st.Nlink == 0 {
		return false
	}
	var now unix.Stat_t
	err = unix.Fstatat(d.fd, file, &now, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && now.Dev == st.Dev && now.Ino == st.Ino
}

// unlink removes the name of a space, and then that of its bulk file, also if force has
// just removed the first one; but then the error says that it was not there. The caller has the
// file open whose inode that is: so no other space can have the same one meanwhile.
func (d *directory) unlink(name string, inode uint64) error {
	err := d.unlinkName(name)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return errors.Join(err, d.unlinkBulk(bulkName{name, inode}))
}

// unlinkName removes the name of a space alone.
func (d *directory) unlinkName(name string) error {
	if err := unix.Unlinkat(d.fd, name+suffix, 0); err != nil {
		return fmt.Errorf("space: remove %s: %w", d.pathOf(name), err)
	}
	return nil
}

// list is the names of all files that may be spaces, and of those that may be their bulk.
func (d *directory) list() (names []string, bulks []bulkName, err error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, nil, fmt.Errorf("space: %w", err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok && CheckName(name) == nil {
			names = append(names, name)
		} else if b, ok := parseBulk(e.Name()); ok {
			bulks = append(bulks, b)
		}
	}
	slices.Sort(names)
	return names, bulks, nil
}

// occupied reports whether anybody lives in a space.
func occupied(f *shm.File) bool {
	_, _, ok, err := f.Locked(slotBytes, slots)
	return ok || err != nil
}

// sweep removes the spaces that crashes have left: nobody lives in them. Whoever is
// about to create one holds its gate, or finds that the name is gone and begins again.
func (d *directory) sweep(except string) {
	names, bulks, err := d.list()
	if err != nil {
		return
	}
	for _, name := range names {
		if name == except {
			continue
		}
		f, _, err := d.open(name, unix.O_RDWR)
		if err != nil {
			continue
		}
		if !occupied(f) {
			if ok, err := f.TryLock(gateByte); ok && err == nil {
				d.discard(name, f)
				_ = f.Unlock(gateByte)
			}
		}
		f.Close()
	}
	for _, b := range bulks {
		d.sweepBulk(b)
	}
}

// discard removes a space in which nobody lives, if it is one. The caller holds the gate.
func (d *directory) discard(name string, f *shm.File) bool {
	st, err := f.Stat()
	if err != nil || occupied(f) {
		return false
	}
	is, _, _, err := inspect(f, st.Size)
	return err == nil && is != foreign && d.names(name, f) && d.unlink(name, st.Ino) == nil
}

// tidy removes the directory if it is empty and not the choice of the user, so that nothing is
// left in /dev/shm. Who is about to open a file in it creates it again.
func (d *directory) tidy() {
	if d.path == defaultDir(os.Geteuid()) {
		_ = unix.Rmdir(d.path)
	}
}

// List is the names of the spaces in a directory, those that crashes have left among them.
func List(dir string) ([]string, error) {
	d, err := openDirectory(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.close()
	names, _, err := d.list()
	return names, err
}

// Remove removes a space's name. While participants live that is an error which names
// them and matches ErrInUse, unless force is true: then they keep the memory
// among themselves, and who opens the name gets another space.
func Remove(dir, name string, force bool) error {
	if err := CheckName(name); err != nil {
		return err
	}
	d, err := openDirectory(dir, false)
	if err != nil {
		return err
	}
	defer d.close()
	f, st, err := d.open(name, unix.O_RDWR)
	if force {
		if err != nil {
			return d.unlinkName(name) // it is no space: if it has bulk, the next Open sweeps that
		}
		defer f.Close()
		// Without the gate a sweep could unlink what is created next; but force must not wait.
		_, _ = f.TryLock(gateByte)
		return d.unlink(name, st.Ino)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Lock(gateByte); err != nil {
		return fmt.Errorf("space: lock %s: %w", d.pathOf(name), err)
	}
	defer func() { _ = f.Unlock(gateByte) }()
	if occupied(f) {
		who := "participants that can't be named"
		if v, err := Peek(dir, name); err == nil {
			var all []string
			for _, p := range v.Participants() {
				all = append(all, p.String())
			}
			v.Close()
			if len(all) > 0 {
				who = strings.Join(all, ", ")
			}
		}
		return fmt.Errorf("space: %s: %w by %s", d.pathOf(name), ErrInUse, who)
	}
	if !d.names(name, f) {
		return fmt.Errorf("space: remove %s: %w", d.pathOf(name), fs.ErrNotExist)
	}
	return d.unlink(name, st.Ino)
}
