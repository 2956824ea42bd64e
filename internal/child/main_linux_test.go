package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roleVar makes the test binary play one of the programs below.
const roleVar = "CHILD_TEST_ROLE"

// testVar marks what this run of the tests starts: other packages' tests run
// trees at the same time.
const testVar = "CHILD_TEST_RUN"

func init() { runtime.LockOSThread() } // main, and with it the role "main thread", stays on the main thread

func TestMain(m *testing.M) {
	Init()
	if role := os.Getenv(roleVar); role != "" {
		os.Exit(play(role, os.Args[1:]))
	}
	os.Setenv(testVar, strconv.Itoa(os.Getpid()))
	code := m.Run()
	if left := leftovers(); left != "" {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// leftovers names what the tests should have cleaned up.
func leftovers() string {
	var out []string
	for _, st := range scanTree(markVar+"=", 0) {
		if !bytes.Contains(readSmall("/proc/"+strconv.Itoa(st.pid)+"/environ"), []byte(testVar+"="+os.Getenv(testVar)+"\x00")) {
			continue
		}
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(st.pid) + "/cmdline")
		out = append(out, fmt.Sprintf("process %d %q", st.pid, b))
	}
	for _, controller := range []string{"", "memory"} {
		if home, err := cgroupHome(controller); err == nil {
			dirs, _ := filepath.Glob(filepath.Join(home, familyDirName()))
			out = append(out, dirs...)
		}
	}
	return strings.Join(out, ", ")
}

// play runs one of the programs that tests start.
func play(role string, args []string) int {
	switch role {
	case "eat": // N MiB, then wait for the end of the input
		n, _ := strconv.Atoi(args[0])
		b := make([]byte, n<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		fmt.Println("ready")
		os.Stdin.Read(make([]byte, 1))
		runtime.KeepAlive(b)
	case "spin": // burn CPU in two threads
		signal.Ignore(unix.SIGTERM)
		for range 2 {
			go func() {
				for i := 0; ; i++ {
					_ = i
				}
			}()
		}
		fmt.Println("ready")
		select {}
	case "threads": // N of them beside the first, all asleep; the last one has a child
		n, _ := strconv.Atoi(args[0])
		ready := make(chan error)
		for i := range n {
			go func() {
				runtime.LockOSThread()
				var err error
				if i == n-1 {
					err = exec.Command("sleep", "1000").Start()
				}
				ready <- err
				unix.Poll(nil, -1)
			}()
		}
		for range n {
			if err := <-ready; err != nil {
				fmt.Println(err)
				return 1
			}
		}
		fmt.Println("ready")
		os.Stdin.Read(make([]byte, 1))
	case "main thread":
		s, err := Open(SlotOptions{})
		if err != nil || unix.Gettid() != os.Getpid() {
			fmt.Println("not on the main thread:", err)
			return 1
		}
		spec := self("eat", "100")
		spec.Memory = 30 << 20
		in, hold, _ := os.Pipe()
		spec.Stdin = in
		rep, _ := s.Run(spec, nil)
		hold.Close() // not before: the collector would close a file that nobody holds, and the job end by itself
		fmt.Println(rep.Reason, s.v1 != nil)
		s.Close()
	case "vfork": // sleep in vfork, which no stop signal ends
		runtime.LockOSThread()
		fmt.Println("ready")
		pid, _, _ := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD|unix.CLONE_VFORK), 0, 0, 0, 0, 0)
		if pid == 0 {
			for {
				unix.RawSyscall(unix.SYS_PPOLL, 0, 0, 0)
			}
		}
	case "reaped": // a child that the kernel reaps, as nobody is told of its end
		signal.Ignore(unix.SIGCHLD)
		s, err := Open(SlotOptions{})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		rep, err := s.Run(sh("exit 3"), nil)
		fmt.Println(rep.Reason, rep.Code, err)
		s.Close()
	case "parent": // runs its arguments under supervision until it is killed
		parent(args[0], args[1:])
	}
	return 0
}

// parent runs a command; mode "paused" pauses it once it has written a line.
func parent(mode string, argv []string) {
	s, err := Open(SlotOptions{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	out := newTap()
	procs := make(chan *Proc, 1)
	path, _ := exec.LookPath(argv[0])
	told := make(chan struct{})
	go func() {
		defer close(told)
		tell(mode, <-procs, out)
	}()
	s.Run(&Spec{Path: path, Args: argv, Stdout: out}, func(p *Proc) { procs <- p })
	<-told
	s.Close()
}

// tell prints what the test waits for: the child's line, once it is paused if so asked.
func tell(mode string, p *Proc, out *tap) {
	line := out.line("ready")
	if mode == "paused" {
		if err := pause(p); err != nil {
			line = err.Error()
		}
	}
	fmt.Println(line)
	if os.Getenv("PARENT_VERBOSE") != "" {
		fmt.Print(out.text())
	}
}

// pause pauses p. On a busy machine that may take more than one call: each says
// after 100 ms that the tree runs on.
func pause(p *Proc) error {
	for end := time.Now().Add(10 * time.Second); ; {
		err := p.Pause(context.Background())
		if !errors.Is(err, ErrNotPaused) || time.Now().After(end) {
			return err
		}
	}
}

// bothWays runs a test with whatever cgroups there are, and without any.
func bothWays(t *testing.T, f func(t *testing.T)) {
	t.Run("cgroup", func(t *testing.T) {
		t.Setenv(noCgroupVar, "")
		f(t)
	})
	t.Run("mark", func(t *testing.T) {
		t.Setenv(noCgroupVar, "1")
		f(t)
	})
}

// open opens a slot for the length of a test, on the test's own goroutine.
func open(t testing.TB) *Slot {
	t.Helper()
	s, err := Open(SlotOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sh is a Spec for a shell script.
func sh(script string, args ...string) *Spec {
	return &Spec{Path: "/bin/sh", Args: append([]string{"sh", "-c", script, "sh"}, args...)}
}

// self is a Spec for the test binary in a role.
func self(role string, args ...string) *Spec {
	return &Spec{Path: Executable(), Args: append([]string{"child.test"}, args...), Env: append(withoutVars(os.Environ(), roleVar), roleVar+"="+role)}
}

// mustRun runs spec with its output kept.
func mustRun(t *testing.T, s *Slot, spec *Spec) (Report, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	spec.Stdout, spec.Stderr = &out, &errs
	rep, err := s.Run(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rep, out.String(), errs.String()
}

// background runs spec on a slot of its own and returns when it has written
// the word ready; the function waits for its report.
func background(t testing.TB, spec *Spec) (*Proc, *tap, func() Report) {
	t.Helper()
	out := newTap()
	spec.Stdout = out
	procs := make(chan *Proc, 1)
	done := make(chan Report, 1)
	go func() {
		defer close(procs)
		s, err := Open(SlotOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		rep, err := s.Run(spec, func(p *Proc) { procs <- p })
		if err != nil {
			t.Error(err)
		}
		s.Close()
		done <- rep
	}()
	p, ok := <-procs
	if !ok {
		t.FailNow()
	}
	var once sync.Once
	var rep Report
	wait := func() Report {
		once.Do(func() { rep = <-done })
		return rep
	}
	t.Cleanup(func() { p.Kill(Cancelled); wait() })
	out.line("ready")
	return p, out, wait
}

// tap is a writer that others can wait on.
type tap struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  bytes.Buffer
}

func newTap() *tap {
	t := &tap{}
	t.cond = sync.NewCond(&t.mu)
	return t
}

func (t *tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cond.Broadcast()
	return t.buf.Write(b)
}

func (t *tap) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// line waits for a line that begins with prefix.
func (t *tap) line(prefix string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		for l := range strings.Lines(t.buf.String()) {
			if strings.HasPrefix(l, prefix) && strings.HasSuffix(l, "\n") {
				return strings.TrimSpace(l)
			}
		}
		t.cond.Wait()
	}
}

// pids reads the numbers in a line.
func pids(line string) []int {
	var out []int
	for _, f := range strings.Fields(line) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// awaitDeath waits until a process is gone or a zombie of somebody else's.
func awaitDeath(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	end := time.Now().Add(10 * time.Second)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
			t.Fatalf("process %d still lives:\n%s", pid, b)
		}
	}
}

func alive(pid int) bool {
	st, err := readStat(pid)
	return err == nil && !st.dead()
}

// openFDs counts this process's descriptors.
func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// prepare makes an ordinary child of the test, outside of the package under test.
func prepare(t *testing.T, role string, args ...string) (*exec.Cmd, *tap) {
	t.Helper()
	out := newTap()
	cmd := exec.Command(Executable(), args...)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	// A survivor that holds the output must not hold up Wait.
	cmd.WaitDelay = time.Second
	t.Cleanup(func() {
		if cmd.Process != nil {
			cmd.Process.Signal(syscall.SIGKILL)
			cmd.Wait()
		}
	})
	return cmd, out
}
