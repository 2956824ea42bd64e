package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	roles["hold"] = hold
	roles["full"] = full
	roles["torn"] = torn
}

// child starts this executable in a role.
func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "JOURNAL_TEST_ROLE="+role, "JOURNAL_TEST_PATH="+path)
	return cmd
}

// hold keeps a journal open until standard input ends.
func hold(path string) {
	if _, err := Open(path, false); err != nil {
		fmt.Println(err)
	}
	fmt.Println("open")
	bufio.NewReader(os.Stdin).ReadByte()
}

// The second of two runs is told which process is the first, and the lock of one
// that was killed is gone with it.
func TestLockedByProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	cmd := child(t, "hold", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "open\n" {
		t.Fatal(line, err)
	}
	_, err = Open(path, true)
	if pid := strconv.Itoa(cmd.Process.Pid); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process "+pid) {
		t.Errorf("got %v, want an error that names process %s", err, pid)
	}
	cmd.Process.Kill()
	cmd.Wait()
	open(t, path, true).Close()
}

// limitFile bounds the size of this process's files, 0: no longer.
func limitFile(size int64) {
	var l syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l)
	l.Cur = uint64(size)
	if size == 0 {
		l.Cur = l.Max
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// full lets the disk be full after each byte of a record, and goes on when there
// is room again.
func full(path string) {
	j, err := Open(path, false)
	if err != nil {
		fmt.Println(err)
		return
	}
	end := State{Seq: 1, Command: 7}
	j.End(id(0), end)
	fi, _ := j.f.Stat()
	record := fi.Size() - int64(len(header))
	for n := range record {
		limitFile(fi.Size() + n)
		err := j.End(id(1), end)
		if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), path) {
			fmt.Printf("room for %d bytes: got %v\n", n, err)
		}
		if now, _ := j.f.Stat(); now.Size() != fi.Size() {
			fmt.Printf("room for %d bytes: %d bytes are left of a record\n", n, now.Size()-fi.Size())
		}
	}
	limitFile(0)
	if err := j.End(id(2), end); err != nil {
		fmt.Println(err)
	}
	if err := j.Close(); err != nil {
		fmt.Println(err)
	}
	if known, err := Read(path); err != nil || len(known) != 2 {
		fmt.Println("read", known, err)
	}
}

// torn lets the disk be full in a file that can't be cut either.
func torn(string) {
	fd, err := unix.MemfdCreate("torn", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	j := &Journal{f: appendFile{File: os.NewFile(uintptr(fd), "torn")}}
	limitFile(10)
	if err := j.End(id(1), State{}); !errors.Is(err, syscall.EFBIG) || !errors.Is(err, syscall.EPERM) {
		fmt.Println("half a record:", err)
	}
	limitFile(0)
	if err := j.End(id(2), State{}); err == nil {
		fmt.Println("a record was glued to half of another")
	}
}

// A disk that is full in the middle of a record leaves none of it, or an error for
// everything that follows.
func TestDiskFullHalfway(t *testing.T) {
	for _, role := range []string{"full", "torn"} {
		if out, err := child(t, role, filepath.Join(t.TempDir(), "journal")).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", role, err, out)
		}
	}
}
