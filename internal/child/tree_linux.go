package child

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// markVar is the environment variable that marks every process of a tree.
const markVar = "BROOD_TREE"

// procStat is what this package needs of /proc/PID/stat.
type procStat struct {
	pid, ppid, pgrp int
	state           byte
	utime, stime    int64 // clock ticks, with those of reaped children
	waited          int64 // of these, what reaped children used
	threads         int
	start           uint64
}

// ticksPerSecond is USER_HZ, which Linux fixes at 100 for every architecture
// that Go runs on.
const ticksPerSecond = 100

// parseStat reads a line of /proc/PID/stat. The command's name may hold blanks
// and parentheses, so the fields are counted from the last one.
func parseStat(b []byte) (st procStat, err error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return st, errors.New("child: malformed stat line")
	}
	var f [20]string
	n := 0
	for field := range strings.FieldsSeq(string(b[end+1:])) {
		if f[n] = field; n == len(f)-1 {
			break
		}
		n++
	}
	if n < len(f)-1 {
		return st, errors.New("child: short stat line")
	}
	st.pid, _ = strconv.Atoi(strings.TrimSpace(string(b[:open])))
	st.state = f[0][0]
	st.ppid, _ = strconv.Atoi(f[1])
	st.pgrp, _ = strconv.Atoi(f[2])
	for _, i := range [...]int{11, 13} { // its own, then that of children it waited for
		u, _ := strconv.ParseInt(f[i], 10, 64)
		s, _ := strconv.ParseInt(f[i+1], 10, 64)
		st.utime += u
		st.stime += s
		st.waited = u + s // in the end, the latter
	}
	st.threads, _ = strconv.Atoi(f[17])
	st.start, _ = strconv.ParseUint(f[19], 10, 64)
	return st, nil
}

// readStat reads the entry of one process.
func readStat(pid int) (procStat, error) {
	return parseStat(readAt(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid)+"/stat", make([]byte, 0, 1024)))
}

// dead reports whether the entry is that of a process that has ended.
func (st *procStat) dead() bool { return st.state == 'Z' || st.state == 'X' }

// scanTree finds the living processes of a tree without a cgroup: the leader's
// group, what carries mark in its environment, and all their descendants. pgrp
// 0 looks for the mark alone. It reads every entry of /proc.
func scanTree(mark string, pgrp int) []procStat {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	self := os.Getpid()
	all := make([]procStat, 0, len(names))
	in := make(map[int]bool)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == self {
			continue
		}
		st, err := readStat(pid)
		if err != nil {
			continue
		}
		all = append(all, st)
		if pgrp != 0 && st.pgrp == pgrp || !st.dead() && hasMark(pid, mark) {
			in[pid] = true
		}
	}
	for grew := true; grew; { // descendants of descendants
		grew = false
		for i := range all {
			if !in[all[i].pid] && in[all[i].ppid] {
				in[all[i].pid], grew = true, true
			}
		}
	}
	tree := all[:0]
	for _, st := range all {
		if in[st.pid] && !st.dead() {
			tree = append(tree, st)
		}
	}
	return tree
}

// hasMark reports whether the environment a process was started with carries mark.
func hasMark(pid int, mark string) bool {
	b := readSmall("/proc/" + strconv.Itoa(pid) + "/environ")
	if !bytes.Contains(b, []byte(mark)) {
		return false
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.HasPrefix(v, []byte(markVar+"=")) && bytes.Contains(v, []byte(mark)) {
			return true
		}
	}
	return false
}

// signalExact sends sig to the process that st describes and to no other that
// may have got its pid since.
func signalExact(st procStat, sig unix.Signal) {
	fd, err := unix.PidfdOpen(st.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if now, err := readStat(st.pid); err == nil && now.start == st.start {
		unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// look reports whether every thread of a process is seen stopped or dead, and
// whether one is in an uninterruptible sleep.
func look(pid int) (stopped, asleep bool) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task/"
	tids, err := os.ReadDir(dir)
	if err != nil {
		return true, false // gone
	}
	stopped = true
	for _, t := range tids {
		b := readSmall(dir + t.Name() + "/stat")
		if b == nil {
			continue
		}
		st, err := parseStat(b)
		if err != nil || !strings.ContainsRune("TtZX", rune(st.state)) {
			stopped = false
		}
		asleep = asleep || st.state == 'D'
	}
	return stopped, asleep
}

// resident is the resident memory of a process and its peak so far, in bytes.
func resident(pid int) (now, peak int64) {
	b := readSmall("/proc/" + strconv.Itoa(pid) + "/status")
	return statusKB(b, "VmRSS:"), statusKB(b, "VmHWM:")
}

// statusKB finds a field of /proc/PID/status that is given in kB, in bytes.
func statusKB(b []byte, key string) int64 {
	i := bytes.Index(b, []byte("\n"+key))
	if i < 0 {
		return 0
	}
	f := bytes.Fields(b[i+1+len(key) : min(len(b), i+64)])
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(f[0]), 10, 64)
	return n << 10
}

// ticks converts clock ticks to a duration.
func ticks(n int64) time.Duration { return time.Duration(n) * time.Second / ticksPerSecond }

// Usage is the CPU time that a process has used and its resident memory in bytes,
// zero if it is gone.
func Usage(pid int) (cpu time.Duration, memory int64) {
	st, err := readStat(pid)
	if err != nil {
		return 0, 0
	}
	memory, _ = resident(pid)
	return ticks(st.utime + st.stime), memory
}
