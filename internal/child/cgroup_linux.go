package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cgroup"
)

// cgroupHome is this process's own cgroup.
func cgroupHome(controller string) (string, error) {
	dir, _, err := cgroup.Home(controller)
	return dir, err
}

// familyPrefix begins the name of every cgroup directory made here; the pid and
// start time of its owner follow, so that one left behind can be told.
const familyPrefix = "brood-"

// familyDirName names the directory of this process.
func familyDirName() string {
	st, _ := readStat(os.Getpid())
	return fmt.Sprintf("%s%d-%d", familyPrefix, os.Getpid(), st.start)
}

// makeFamilyDir makes this process's directory below home, and removes those
// that killed processes left there.
func makeFamilyDir(home string) (string, error) {
	entries, _ := os.ReadDir(home)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), familyPrefix) && ownerDead(e.Name()) {
			emptyCgroup(filepath.Join(home, e.Name()))
		}
	}
	dir := filepath.Join(home, familyDirName())
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return dir, nil
}

// ownerDead reports whether the process that a family directory is named after
// no longer exists.
func ownerDead(name string) bool {
	f := strings.Split(strings.TrimPrefix(name, familyPrefix), "-")
	if len(f) != 2 {
		return false
	}
	pid, err1 := strconv.Atoi(f[0])
	start, err2 := strconv.ParseUint(f[1], 10, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	st, err := readStat(pid)
	return err != nil || st.start != start
}

// emptyCgroup kills whatever is in dir and below and removes the directories.
// It returns an error if something could not be removed (yet).
func emptyCgroup(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0); err != nil {
		for _, pid := range cgroupPIDs(dir) { // v1, or a kernel before 5.14
			if pid != os.Getpid() {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			emptyCgroup(filepath.Join(dir, e.Name()))
		}
	}
	if rerr := unix.Rmdir(dir); rerr != nil && rerr != unix.ENOENT {
		err = rerr
	}
	return err
}

// cgroupPIDs lists the processes in dir and in the directories below it (a job
// that uses cgroups itself makes some).
func cgroupPIDs(dir string) []int {
	pids := parsePIDs(nil, readSmall(filepath.Join(dir, "cgroup.procs")))
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			pids = append(pids, cgroupPIDs(filepath.Join(dir, e.Name()))...)
		}
	}
	return pids
}

// parsePIDs appends the numbers in b, one per line.
func parsePIDs(pids []int, b []byte) []int {
	for line := range bytes.Lines(b) {
		if n, err := strconv.Atoi(string(bytes.TrimSpace(line))); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// readSmall reads a small kernel file, nil if it can't be read.
func readSmall(path string) []byte {
	return readAt(unix.AT_FDCWD, path, make([]byte, 0, 2048))
}

// readAt is readSmall for a path below the open directory dir, into buf or a larger
// one. An os.File would be offered to the runtime's poller first, and wake it up.
func readAt(dir int, path string, buf []byte) []byte {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	for buf = buf[:0]; ; {
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil
		case n == 0:
			return buf
		default:
			buf = buf[:len(buf)+n]
			if len(buf) == cap(buf) {
				buf = slices.Grow(buf, len(buf))
			}
		}
	}
}

// keyed finds the number after key in a flat keyed kernel file
// ("populated 0\nfrozen 1\n").
func keyed(b []byte, key string) (int64, bool) {
	for line := range bytes.Lines(b) {
		k, v, _ := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		if string(k) == key {
			n, err := strconv.ParseInt(string(v), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// v2group is the slot's cgroup in the v2 hierarchy. It is reused from job to
// job, because making one costs as much as a third of a short job; it is
// checked to be empty in between.
type v2group struct {
	dir    string
	fd     int // the directory, for CLONE_INTO_CGROUP
	events int // cgroup.events: populated and frozen, with POLLPRI at each change
	cpu    int // cpu.stat, present whether or not the cpu controller is enabled
	peak   int // memory.peak, writable to reset it (Linux 6.12); -1 without the controller
	memev  int // memory.events; -1 without the controller
	limit  int64
	oom    int64 // oom_kill events counted so far
	killed bool  // kill was used

	user, system int64 // what cpuTimes read last
}

// openV2 makes the slot's directory and opens its files.
func openV2(dir string) (*v2group, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	g := &v2group{dir: dir, fd: -1, events: -1, cpu: -1, peak: -1, memev: -1}
	var err error
	if g.fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		g.close()
		return nil, err
	}
	if g.events, err = g.open("cgroup.events", unix.O_RDONLY); err != nil {
		g.close()
		return nil, err
	}
	g.cpu, _ = g.open("cpu.stat", unix.O_RDONLY)
	if g.memev, err = g.open("memory.events", unix.O_RDONLY); err == nil {
		g.peak, _ = g.open("memory.peak", unix.O_RDWR)
		g.write("memory.oom.group", "1")
	}
	return g, nil
}

func (g *v2group) open(name string, flags int) (int, error) {
	return unix.Openat(g.fd, name, flags|unix.O_CLOEXEC, 0)
}

// write stores s in one of the group's files.
func (g *v2group) write(name, s string) error {
	fd, err := g.open(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(s))
	return err
}

// pread reads an open kernel file from its start into buf.
func pread(fd int, buf []byte) []byte {
	if fd < 0 {
		return nil
	}
	n, err := unix.Pread(fd, buf, 0)
	if err != nil || n < 0 {
		return nil
	}
	return buf[:n]
}

// populated reports whether a living process is in the group or below.
func (g *v2group) populated() bool {
	var buf [128]byte
	n, ok := keyed(pread(g.events, buf[:]), "populated")
	return !ok || n != 0
}

// frozen reports whether every process of the group is frozen.
func (g *v2group) frozen(events int) bool {
	var buf [128]byte
	n, ok := keyed(pread(events, buf[:]), "frozen")
	return ok && n == 1
}

// cpuTimes is the user and system time used in the group so far, in microseconds.
// It is noted for the next job's start, so only the slot's thread may call it.
func (g *v2group) cpuTimes() (user, system int64) {
	g.user, g.system, _ = g.readCPU()
	return g.user, g.system
}

// readCPU is cpuTimes without the note.
func (g *v2group) readCPU() (user, system int64, ok bool) {
	var buf [512]byte
	b := pread(g.cpu, buf[:])
	user, ok1 := keyed(b, "user_usec")
	system, ok2 := keyed(b, "system_usec")
	return user, system, ok1 && ok2
}

// kill ends every process of the group and below, frozen ones too. The group
// can't be used again afterwards: Linux (6.18 measured) takes a later
// CLONE_INTO_CGROUP for a fork that raced with the kill, because it compares
// the group's count of kills with that of the parent's group, and ends the new
// child at once.
func (g *v2group) kill() error {
	g.killed = true
	return g.write("cgroup.kill", "1")
}

// pids lists the living processes of the group and below. The kernel counts the
// directories below as links, and to read all entries takes longer than the rest.
func (g *v2group) pids() []int {
	var st unix.Stat_t
	if unix.Fstat(g.fd, &st) == nil && st.Nlink == 2 {
		return parsePIDs(nil, readAt(g.fd, "cgroup.procs", make([]byte, 0, 1024)))
	}
	return cgroupPIDs(g.dir)
}

// hasMemory reports whether the memory controller is enabled for the group.
func (g *v2group) hasMemory() bool { return g.memev >= 0 }

// setLimit bounds the group's memory; 0 lifts the bound.
func (g *v2group) setLimit(n int64) error {
	if n == g.limit {
		return nil
	}
	v := "max"
	if n > 0 {
		v = strconv.FormatInt(n, 10)
	}
	if err := g.write("memory.max", v); err != nil {
		return err
	}
	g.write("memory.swap.max", map[bool]string{true: "0", false: "max"}[n > 0])
	g.limit = n
	return nil
}

// resetPeak begins a new peak; false where the kernel can't (before 6.12).
func (g *v2group) resetPeak() bool {
	if g.peak < 0 {
		return false
	}
	_, err := unix.Pwrite(g.peak, []byte("reset"), 0)
	return err == nil
}

// peakBytes is the most memory that the group had since resetPeak.
func (g *v2group) peakBytes() (int64, bool) { return preadInt(g.peak) }

// oomKilled reports whether the kernel killed something here since the last call.
func (g *v2group) oomKilled() bool {
	var buf [256]byte
	n, ok := keyed(pread(g.memev, buf[:]), "oom_kill")
	grew := ok && n > g.oom
	if ok {
		g.oom = n
	}
	return grew
}

func preadInt(fd int) (int64, bool) {
	var buf [32]byte
	n, err := strconv.ParseInt(string(bytes.TrimSpace(pread(fd, buf[:]))), 10, 64)
	return n, err == nil
}

// close closes the files and removes the directory.
func (g *v2group) close() error {
	for _, fd := range []int{g.fd, g.events, g.cpu, g.peak, g.memev} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	return emptyCgroup(g.dir)
}
