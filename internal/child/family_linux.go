package child

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// noCgroupVar switches the use of cgroups off: "1" altogether, "v1" or "v2" one
// hierarchy. For tests, and for machines where a cgroup is writable by mistake.
const noCgroupVar = "BROOD_NO_CGROUP"

// family is what all slots of this process share. The first Open makes it, the
// last Close ends it.
type family struct {
	mark   string // random; every tree's mark begins with it
	null   *os.File
	lifeR  *os.File // held by the warden and by children that asked for it
	lifeW  *os.File // held by this process alone: its end is our death
	v2dir  string   // "" where no v2 subtree is writable
	v1home string   // our own v1 memory group, "" if there is none
	v1dir  string
	next   int // the next slot's number

	mu       sync.Mutex // guards what follows
	warden   int        // pid
	wardenFD int        // its pidfd
	revived  time.Time
}

var current struct {
	mu   sync.Mutex
	fam  *family
	refs int
}

// PortableOnly reports whether RunPortable is all there is to start a process with.
const PortableOnly = false

// inited is set by Init.
var inited bool

// Init prepares the process: in a warden process it never returns. It must be
// called first thing in main or TestMain, before goroutines are started. It
// also closes what this process inherited, beyond the three standard
// descriptors, to its own children.
func Init() {
	if isWarden() {
		wardenMain()
	}
	unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) // before Linux 5.11: inherited descriptors stay open
	inited = true
}

// joinFamily returns the family, made anew if there is none.
func joinFamily() (*family, int, error) {
	if !inited {
		return nil, 0, ErrNoInit
	}
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.fam == nil {
		f, err := newFamily()
		if err != nil {
			return nil, 0, err
		}
		current.fam = f
	}
	current.refs++
	current.fam.next++
	return current.fam, current.fam.next, nil
}

// openSlots is how many slots this process has.
func openSlots() int {
	current.mu.Lock()
	defer current.mu.Unlock()
	return current.refs
}

// leaveFamily ends the family with its last slot.
func leaveFamily() {
	current.mu.Lock()
	defer current.mu.Unlock()
	if current.refs--; current.refs == 0 {
		current.fam.close()
		current.fam = nil
	}
}

// newFamily makes the lifeline and starts the warden before there is anything
// that could be left behind.
func newFamily() (*family, error) {
	var id [8]byte
	rand.Read(id[:])
	f := &family{mark: hex.EncodeToString(id[:]), wardenFD: -1}
	var err error
	if f.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if f.lifeR, f.lifeW, err = os.Pipe(); err != nil {
		f.null.Close()
		return nil, err
	}
	off := os.Getenv(noCgroupVar)
	v2home := ""
	if off != "1" && off != "v2" {
		v2home, _ = cgroupHome("")
	}
	if off != "1" && off != "v1" {
		if f.v1home, err = cgroupHome("memory"); err == nil {
			f.v1dir = filepath.Join(f.v1home, familyDirName())
		}
	}
	if v2home != "" {
		f.v2dir = filepath.Join(v2home, familyDirName())
	}
	if err := f.startWarden(); err != nil {
		f.close()
		return nil, fmt.Errorf("child: start the warden: %w", err)
	}
	if v2home != "" && f.useV2(v2home) != nil {
		unix.Rmdir(f.v2dir)
		f.v2dir = ""
	}
	return f, nil
}

// useV2 makes the family's v2 directory and makes sure that children can be
// started in it. The proof is a start of a program that doesn't exist: with
// ENOENT the new process was in the cgroup and only the exec failed.
func (f *family) useV2(home string) error {
	dir, err := makeFamilyDir(home)
	if err != nil {
		return err
	}
	// The memory controller, where it lives in v2 and can be passed down.
	writeFile(home, "cgroup.subtree_control", "+memory")
	writeFile(dir, "cgroup.subtree_control", "+memory")
	probe, err := openV2(filepath.Join(dir, "probe"))
	if err != nil {
		return err
	}
	defer probe.close()
	_, err = syscall.ForkExec("/proc/self/brood-probe", nil, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: probe.fd},
	})
	if !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("child: no process can be started in %s: %v", dir, err)
	}
	return nil
}

// close ends the warden and removes the directories.
func (f *family) close() {
	f.mu.Lock()
	if f.warden > 0 {
		unix.PidfdSendSignal(f.wardenFD, unix.SIGKILL, nil, 0)
		reap(f.warden, nil)
		unix.Close(f.wardenFD)
		f.warden, f.wardenFD = 0, -1
	}
	f.mu.Unlock()
	f.lifeR.Close()
	f.lifeW.Close()
	f.null.Close()
	for _, dir := range []string{f.v2dir, f.v1dir} {
		if dir != "" {
			emptyCgroup(dir)
		}
	}
}

// reap waits for a child of ours. The status is not ok if somebody else has
// taken it.
func reap(pid int, ru *syscall.Rusage) (ws syscall.WaitStatus, ok bool) {
	for {
		_, err := syscall.Wait4(pid, &ws, 0, ru)
		if err != syscall.EINTR {
			return ws, err == nil
		}
	}
}

// The warden is this executable again, in a session of its own, with nothing
// open but the lifeline. It sleeps in a read of it. End-of-file means that
// every writer is gone, and the only writer is the process it guards.
const (
	wardenVar  = "BROOD_WARDEN"
	wardenName = "brood-warden"
)

// isWarden reports whether this process was started by startWarden.
func isWarden() bool {
	if os.Getenv(wardenVar) == "" || len(os.Args) != 4 || os.Args[0] != wardenName {
		return false
	}
	var st unix.Stat_t
	return unix.Fstat(3, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}

// startWarden starts a warden. Called with f.mu held, or before f is shared.
func (f *family) startWarden() error {
	null := f.null.Fd()
	env := append(withoutVars(os.Environ(), wardenVar), wardenVar+"="+strconv.Itoa(os.Getpid()))
	pidfd := -1
	pid, err := syscall.ForkExec(Executable(), []string{wardenName, f.mark, f.v2dir, f.v1dir}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   env,
		Files: []uintptr{null, null, null, f.lifeR.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	})
	if err != nil {
		return err
	}
	if pidfd < 0 {
		syscall.Kill(pid, syscall.SIGKILL)
		reap(pid, nil)
		return errors.New("the kernel gives no pidfd (Linux 5.7 or newer is needed)")
	}
	f.warden, f.wardenFD, f.revived = pid, pidfd, time.Now()
	return nil
}

// reviveWarden starts another warden if the one with descriptor fd has died,
// at most once a second. It returns the descriptor to watch, -1 for none.
func (f *family) reviveWarden(fd int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wardenFD != fd || time.Since(f.revived) < time.Second {
		if f.wardenFD == fd {
			return -1 // died twice in a second: look again at the next start
		}
		return f.wardenFD
	}
	reap(f.warden, nil)
	unix.Close(f.wardenFD)
	f.warden, f.wardenFD = 0, -1
	f.startWarden()
	return f.wardenFD
}

// guard returns the warden's pidfd, after making sure that there is a warden.
func (f *family) guard() int {
	f.mu.Lock()
	fd := f.wardenFD
	if fd < 0 && time.Since(f.revived) > time.Second {
		f.startWarden()
		fd = f.wardenFD
	}
	f.mu.Unlock()
	return fd
}

// Executable is the path of the running program: its real path if the file
// there is still the one that runs, else the kernel's link to it.
func Executable() string {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil {
		return self
	}
	var now, was unix.Stat_t
	if unix.Stat(path, &now) != nil || unix.Stat(self, &was) != nil || now.Dev != was.Dev || now.Ino != was.Ino {
		return self // replaced or deleted
	}
	return path
}

// withoutVars is env without the named variables.
func withoutVars(env []string, names ...string) []string {
	out := make([]string, 0, len(env)+2)
next:
	for _, v := range env {
		for _, n := range names {
			if strings.HasPrefix(v, n) && len(v) > len(n) && v[len(n)] == '=' {
				continue next
			}
		}
		out = append(out, v)
	}
	return out
}

// Scratch is a file without a name, in memory, for a child to write to. It is gone
// with its last descriptor.
func Scratch(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("child: make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
