package space

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/shm"
)

// File is a handle to a space, and a cell.Extender. Its methods may be called from any
// goroutine, also after Close. Words, and the objects and extents that they come from, are good as long
// as the File can be reached.
type File struct {
	*member
	name, path string
	closed     atomic.Bool // set under the member's mu
}

var _ cell.Extender = (*File)(nil)

// member is this process as a participant of a space. It is shared by all its handles.
type member struct {
	*storage
	key     inode
	dir     string
	name    string
	lock    *shm.File   // holds the slot's byte, and is for nothing else
	door    *shm.Window // the header and the slots once more, for leave alone
	bulk    *bulk
	self    cell.ID
	mask    uint32 // by which its sleepers are interrupted
	spin    int
	opened  time.Time
	epoch   time.Duration // of the machine's clock at opened
	handles int           // guarded by members
	leaving atomic.Bool

	watch  watch
	deaths atomic.Uint64 // changed under mu

	mu     sync.Mutex
	chiefs map[*atomic.Uint64]*sleeper
}

// inode is a file's identity.
type inode struct{ dev, ino uint64 }

// members are the spaces in which this process takes part. That also keeps them from
// being collected: only Close and the process's death end a membership.
var members struct {
	sync.Mutex
	by    map[inode]*member
	stuck []*member // that could not leave: they hold their bytes
}

// errAgain says that the name or the directory was removed meanwhile.
var errAgain = errors.New("removed meanwhile")

// Open creates a space in a directory, or takes part in it, or in what a process takes part in
// already gives another handle. First it sweeps what crashes have left there. It may have to wait while
// others open or close the same space.
func Open(dir, name string) (*File, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	for {
		d, err := openDirectory(dir, true)
		if err != nil {
			return nil, err
		}
		d.sweep(name)
		f, err := d.enter(name)
		d.close()
		if !errors.Is(err, errAgain) {
			return f, err
		}
	}
}

// enter opens a space's file under the gate, and makes of it what it has to be.
func (d *directory) enter(name string) (*File, error) {
	f, st, err := d.open(name, unix.O_RDWR|unix.O_CREAT)
	if errors.Is(err, unix.ENOENT) {
		return nil, errAgain // the directory is gone
	}
	if err != nil {
		return nil, err
	}
	if err := f.Lock(gateByte); err != nil {
		f.Close()
		return nil, fmt.Errorf("space: lock %s: %w", d.pathOf(name), err)
	}
	file, err := d.admit(name, f, inode{uint64(st.Dev), st.Ino})
	_ = f.Unlock(gateByte)
	if err != nil || file.file != f {
		f.Close() // of no use, or this process had it open
	}
	return file, err
}

// admit does what is done under the gate. If it succeeds with a new member, that owns f.
func (d *directory) admit(name string, f *shm.File, key inode) (*File, error) {
	if !d.names(name, f) {
		return nil, errAgain
	}
	path := d.pathOf(name)
	if file := handle(key, name, path); file != nil {
		return file, nil
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("space: %s: %w", path, err)
	}
	is, found, want, err := inspect(f, st.Size)
	if err != nil {
		return nil, fmt.Errorf("space: %s: %w", path, err)
	}
	lives := occupied(f)
	switch {
	case !lives && st.Size == 0:
		if err := initialise(f); err != nil {
			_ = d.unlink(name, key.ino)
			return nil, fmt.Errorf("space: %s: no storage for a new space: %w", path, err)
		}
	case is == foreign || lives && is != ours:
		return nil, &FormatError{path, name, found, want}
	case !lives: // a crash has left it
		if err := d.unlink(name, key.ino); err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		return nil, errAgain
	}
	b, err := d.openBulk(name, f, key.ino, !lives)
	if err != nil {
		if !lives && !errors.Is(err, errAgain) {
			_ = d.unlink(name, key.ino)
		}
		return nil, err
	}
	return d.join(name, f, key, b)
}

// handle is one more handle of a member, or nil if this process takes no part.
func handle(key inode, name, path string) *File {
	members.Lock()
	defer members.Unlock()
	m := members.by[key]
	if m == nil {
		return nil
	}
	m.handles++
	return &File{member: m, name: name, path: path}
}

// join makes this process a participant, who owns b. The caller holds the gate.
func (d *directory) join(name string, f *shm.File, key inode, b *bulk) (file *File, err error) {
	defer func() {
		if err != nil {
			_ = b.close()
		}
	}()
	path := d.pathOf(name)
	lock, st, err := d.open(name, unix.O_RDWR)
	if errors.Is(err, unix.ENOENT) {
		return nil, errAgain // removed by force
	}
	if err != nil {
		return nil, err
	}
	if key != (inode{uint64(st.Dev), st.Ino}) {
		lock.Close()
		return nil, errAgain // the same, and created again
	}
	s, err := newStorage(path, f, true)
	if err != nil {
		lock.Close()
		return nil, err
	}
	if !s.has(firstSize) {
		err = &FormatError{path, name, "a file that is being cut off", "a space"}
	}
	var door *shm.Window
	if err == nil {
		door, err = f.Map(bucketsAt, true)
	}
	var self cell.ID
	if err == nil {
		self, err = s.join(lock)
	}
	if err != nil {
		lock.Close()
		_ = s.mem.Release()
		if door != nil {
			_ = door.Release()
		}
		return nil, err
	}
	announce(s.mem)
	m := &member{
		storage: s, key: key, dir: d.path, name: name, lock: lock, door: door, bulk: b, self: self,
		mask: 1 << (self.Slot() % 32), chiefs: make(map[*atomic.Uint64]*sleeper),
		opened: time.Now(), handles: 1,
	}
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		m.epoch = time.Duration(now.Nano())
	}
	if runtime.GOMAXPROCS(0) > 1 {
		m.spin = spin
	}
	members.Lock()
	defer members.Unlock()
	if members.by == nil {
		members.by = make(map[inode]*member)
	}
	members.by[key] = m
	return &File{member: m, name: name, path: path}, nil
}

// Name is the space's name.
func (f *File) Name() string { return f.name }

// Path is the path of the space's file.
func (f *File) Path() string { return f.path }

// Same reports whether two handles are of one membership: the paths may differ.
func (f *File) Same(g *File) bool { return f.member == g.member }

// Close ends the handle: every Wait through it, now and later, returns cell.ErrClosed. With the last
// handle of the process the participant leaves, which counts as a death to the others; what
// anybody still reads are zeros. The last participant removes the file. A second
// Close does nothing.
func (f *File) Close() error {
	m := f.member
	m.mu.Lock()
	first := !f.closed.Swap(true)
	m.mu.Unlock()
	if !first {
		return nil
	}
	m.rouse(f)
	members.Lock()
	m.handles--
	last := m.handles == 0
	if last && members.by[m.key] == m {
		delete(members.by, m.key)
	}
	members.Unlock()
	if !last {
		return nil
	}
	return m.leave()
}

// leave ends the membership. All handles are closed, and nobody sleeps. Goroutines that still run
// may write anywhere, so the memory goes first: once the byte is unlocked others take over
// what was this participant's. What is left to say is said through the door.
func (m *member) leave() error {
	m.leaving.Store(true)
	// Before the gate: it waits for reads and writes under way. And with all the memory, before the byte.
	berr := m.bulk.close()
	d, derr := openDirectory(m.dir, false)
	gate := m.file.Lock(gateByte)
	err := m.blank()
	if err != nil {
		// What still runs may write into the memory: the participant lives as long as the process.
		members.Lock()
		members.stuck = append(members.stuck, m)
		members.Unlock()
		if gate == nil {
			_ = m.file.Unlock(gateByte)
		}
		if derr == nil {
			d.close()
		}
		return fmt.Errorf("space: close %s: %w", m.path, err)
	}
	m.door.Uint64(pidAt(m.self.Slot())).Swap(0)
	err = errors.Join(berr, m.lock.Unlock(slotBytes+int64(m.self.Slot())))
	announce(m.door)
	if derr == nil && gate == nil && !occupied(m.file) {
		var uerr error
		if d.names(m.name, m.file) {
			uerr = d.unlink(m.name, m.key.ino)
		} else { // who removed it by force may have been killed in between
			uerr = d.unlinkBulk(bulkName{m.name, m.key.ino})
		}
		if !errors.Is(uerr, unix.ENOENT) { // force was faster
			err = errors.Join(err, uerr)
		}
	}
	if gate == nil {
		_ = m.file.Unlock(gateByte)
	}
	m.watch.end()
	err = errors.Join(err, gate, m.door.Release(), m.lock.Close(), m.file.Close())
	if derr == nil {
		d.tidy()
		d.close()
	}
	if err != nil {
		return fmt.Errorf("space: close %s: %w", m.path, err)
	}
	return nil
}

// View is a look at a space from outside. Who looks is no participant, and so keeps neither
// the space nor its name alive; and since a space's file is never made shorter, only
// unlinked, the memory stays good to look at. Words must not be written: they are mapped for
// reading. Object opens what there is, and makes nothing.
type View struct {
	*storage
	name string
}

// Peek looks at a space.
func Peek(dir, name string) (*View, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	d, err := openDirectory(dir, false)
	if err != nil {
		return nil, err
	}
	defer d.close()
	f, st, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	is, found, want, err := inspect(f, st.Size)
	if err == nil && is != ours {
		err = &FormatError{d.pathOf(name), name, found, want}
	}
	var s *storage
	if err == nil {
		s, err = newStorage(d.pathOf(name), f, false)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s.enlarge(st.Size)
	return &View{s, name}, nil
}

// Name is the space's name.
func (v *View) Name() string { return v.name }

// Path is the path of the space's file.
func (v *View) Path() string { return v.path }

// Alive asks the kernel whether a participant lives.
func (v *View) Alive(id cell.ID) bool { return v.alive(id) }

// Close ends the look. What is still read are zeros.
func (v *View) Close() error { return errors.Join(v.blank(), v.file.Close()) }
