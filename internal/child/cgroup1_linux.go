package child

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// v1memory is the slot's group in the v1 memory hierarchy, for machines where
// the memory controller still lives there. v1 has no CLONE_INTO_CGROUP, but its
// membership is by thread: the slot's thread joins once, and every child that
// it forks is born inside. The thread's own memory stays charged where it was:
// the kernel charges by the owner of the address space, which is the main
// thread, and so that one must never join. The first join of a
// process takes up to 20 ms, a grace period of the kernel's, so it is made only
// when a job has a memory limit.
type v1memory struct {
	home, dir       string
	usage, peak     int
	oomctl, eventfd int
	limit           int64
	oom             int64
}

// leftoverMax is how much page cache of the last job may stay charged to the
// group before it is pushed out, so that it does not count as the next one's.
const leftoverMax = 1 << 20

// joinV1 makes the directory and moves the calling thread, which must be
// locked, into it.
func joinV1(home, dir string) (*v1memory, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	g := &v1memory{home: home, dir: dir, usage: -1, peak: -1, oomctl: -1, eventfd: -1}
	err := g.open()
	if err == nil {
		err = writeFile(dir, "tasks", strconv.Itoa(unix.Gettid()))
	}
	if err != nil {
		g.leave()
		return nil, err
	}
	return g, nil
}

// open opens the group's files and subscribes to its out-of-memory events.
func (g *v1memory) open() (err error) {
	for _, f := range []struct {
		fd    *int
		name  string
		flags int
	}{
		{&g.usage, "memory.usage_in_bytes", unix.O_RDONLY},
		{&g.peak, "memory.max_usage_in_bytes", unix.O_RDWR},
		{&g.oomctl, "memory.oom_control", unix.O_RDONLY},
	} {
		if *f.fd, err = unix.Open(filepath.Join(g.dir, f.name), f.flags|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
	}
	if g.eventfd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	return writeFile(g.dir, "cgroup.event_control", fmt.Sprintf("%d %d", g.eventfd, g.oomctl))
}

// writeFile stores s in a kernel file.
func writeFile(dir, name, s string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(s), 0)
}

// begin readies the group for a job with a limit.
func (g *v1memory) begin(limit int64) error {
	if n, ok := preadInt(g.usage); ok && n > leftoverMax {
		writeFile(g.dir, "memory.force_empty", "0")
	}
	if limit != g.limit {
		v := strconv.FormatInt(limit, 10)
		// memsw must never be below the limit: lift it, set the limit, set it.
		writeFile(g.dir, "memory.memsw.limit_in_bytes", "-1")
		if err := writeFile(g.dir, "memory.limit_in_bytes", v); err != nil {
			return err
		}
		writeFile(g.dir, "memory.memsw.limit_in_bytes", v) // absent without swap accounting
		g.limit = limit
	}
	g.oomKilled()
	unix.Pwrite(g.peak, []byte("0"), 0)
	return nil
}

// oomKilled reports whether the kernel killed something here since the last call.
func (g *v1memory) oomKilled() bool {
	var ev [8]byte
	unix.Read(g.eventfd, ev[:])
	var buf [256]byte
	n, ok := keyed(pread(g.oomctl, buf[:]), "oom_kill")
	grew := ok && n > g.oom
	if ok {
		g.oom = n
	}
	return grew
}

// peakBytes is the most memory that the group had since begin.
func (g *v1memory) peakBytes() (int64, bool) { return preadInt(g.peak) }

// leave moves the calling thread out and removes the group.
func (g *v1memory) leave() {
	writeFile(g.home, "tasks", strconv.Itoa(unix.Gettid()))
	for _, fd := range []int{g.usage, g.peak, g.oomctl, g.eventfd} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	unix.Rmdir(g.dir)
}
