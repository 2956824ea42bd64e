package child

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExit(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := open(t)
		for _, tt := range []struct {
			script string
			code   int
			signal syscall.Signal
			reason Reason
		}{
			{"exit 0", 0, 0, Exited},
			{"exit 7", 7, 0, Exited},
			{"exit 255", 255, 0, Exited},
			{"kill -9 $$", -1, syscall.SIGKILL, Signaled},
			{"kill -TERM $$", -1, syscall.SIGTERM, Signaled},
		} {
			rep, _, _ := mustRun(t, s, sh(tt.script))
			if rep.Code != tt.code || rep.Signal != tt.signal || rep.Reason != tt.reason {
				t.Errorf("%s: %+v", tt.script, rep)
			}
			if rep.OK() != (tt.script == "exit 0") {
				t.Errorf("%s: OK is %v", tt.script, rep.OK())
			}
			if rep.PID <= 0 || rep.Start.IsZero() || rep.End.Before(rep.Start) {
				t.Errorf("%s: pid and times: %+v", tt.script, rep)
			}
		}
	})
}

func TestOutputApart(t *testing.T) {
	s := open(t)
	rep, out, errs := mustRun(t, s, sh("echo out; echo err >&2; printf end"))
	if out != "out\nend" || errs != "err\n" || !rep.OK() {
		t.Errorf("stdout %q, stderr %q, %+v", out, errs, rep)
	}
}

func TestMuchOutput(t *testing.T) {
	s := open(t)
	const size = 32 << 20
	rep, out, errs := mustRun(t, s, sh("head -c 33554432 /dev/zero; head -c 33554432 /dev/zero >&2"))
	if len(out) != size || len(errs) != size || !rep.OK() {
		t.Errorf("got %d and %d bytes, want %d: %+v", len(out), len(errs), size, rep)
	}
}

// A file is handed over as it is: the child's end of it is the file itself.
func TestOutputToFile(t *testing.T) {
	s := open(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spec := sh("readlink /proc/self/fd/1; echo problem >&2")
	var errs bytes.Buffer
	spec.Stdout, spec.Stderr = f, &errs
	if _, err := s.Run(spec, nil); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(f.Name())
	if strings.TrimSpace(string(b)) != f.Name() || errs.String() != "problem\n" {
		t.Errorf("file holds %q, standard error %q", b, errs.String())
	}
}

type failing struct{ after int }

var errFull = errors.New("disk full")

func (f *failing) Write(b []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// A writer that fails must not block or kill the child.
func TestWriterError(t *testing.T) {
	s := open(t)
	spec := sh("head -c 1000000 /dev/zero; exit 3")
	spec.Stdout = &failing{after: 1}
	rep, err := s.Run(spec, nil)
	if err != nil || rep.Code != 3 || !errors.Is(rep.OutputErr, errFull) {
		t.Errorf("%+v, %v", rep, err)
	}
}

// full is a writer that is full until it is emptied.
type full struct {
	tap
	blocked bool
	asked   chan struct{}
}

func (f *full) Full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blocked {
		select {
		case f.asked <- struct{}{}:
		default:
		}
	}
	return f.blocked
}

// While a writer is full the child waits, and its limits hold all the same;
// woken, everything arrives, also what the pipe held at the child's end.
func TestBackpressure(t *testing.T) {
	w := &full{blocked: true, asked: make(chan struct{}, 1)}
	w.cond = newTap().cond
	spec := sh("echo hello")
	spec.Stdout = w
	spec.Linger = -1
	procs := make(chan *Proc, 1)
	done := make(chan Report)
	go func() {
		s, err := Open(SlotOptions{})
		if err != nil {
			t.Error(err)
			close(done)
			return
		}
		rep, _ := s.Run(spec, func(p *Proc) { procs <- p })
		s.Close()
		done <- rep
	}()
	p := <-procs
	<-w.asked
	awaitZombieOrGone(t, p.PID())
	w.mu.Lock()
	w.blocked = false
	w.mu.Unlock()
	p.Wake()
	if rep := <-done; !rep.OK() || w.buf.String() != "hello\n" {
		t.Errorf("%q, %+v", w.buf.String(), rep)
	}
}

func awaitZombieOrGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10000); n == 1 || err != unix.EINTR {
			return
		}
	}
}

func TestStartErrors(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct {
		name string
		spec Spec
		code int
		want string
	}{
		{"missing", Spec{Path: filepath.Join(dir, "nothing")}, 127, "no such file"},
		{"not executable", Spec{Path: write("plain", "text", 0o644)}, 126, "permission denied"},
		{"a directory", Spec{Path: dir}, 126, "permission denied"},
		{"no format", Spec{Path: write("junk", "\x01\x02\x03\x04", 0o755)}, 126, "#! line"},
		{"interpreter", Spec{Path: write("script", "#!/no/such/shell\n", 0o755)}, 127, "interpreter"},
		{"directory", Spec{Path: "/bin/true", Dir: filepath.Join(dir, "none")}, 126, "working directory"},
		{"too long", Spec{Path: "/bin/true", Args: []string{"true", strings.Repeat("x", 3<<20)}}, 126, "131,071 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := openFDs(t)
			tt.spec.Stdout = io.Discard
			rep, err := s.Run(&tt.spec, func(*Proc) { t.Error("started") })
			var se *StartError
			if !errors.As(err, &se) || se.Code() != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want code %d and %q", err, tt.code, tt.want)
			}
			if rep.Reason != NotStarted || rep.Code != tt.code {
				t.Errorf("report %+v", rep)
			}
			if n := openFDs(t); n != before {
				t.Errorf("%d descriptors, %d before", n, before)
			}
		})
	}
	if _, err := s.Run(&Spec{}, nil); err == nil || !strings.Contains(err.Error(), "Path") {
		t.Errorf("an empty Spec: %v", err)
	}
	if rep, _, _ := mustRun(t, s, sh("exit 4")); rep.Code != 4 {
		t.Errorf("the slot is unusable after errors: %+v", rep)
	}
}

// A child has the three standard descriptors and what it was given, also when
// its parent inherited others that are not closed on exec.
func TestDescriptors(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		cmd, out := prepare(t, "parent", "", "sh", "-c", "ls -l /proc/self/fd; echo ready")
		cmd.ExtraFiles = []*os.File{r, w}
		cmd.Env = append(cmd.Env, "PARENT_VERBOSE=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		text := out.text()
		if !strings.Contains(text, " 0 -> /dev/null\n") || !strings.Contains(text, "ready") {
			t.Errorf("the child saw:\n%s", text)
		}
		for line := range strings.Lines(text) {
			link, target, ok := strings.Cut(line, " -> ")
			fd := link[strings.LastIndex(link, " ")+1:]
			if ok && fd > "2" && !strings.HasPrefix(target, "/proc/") { // ls has the directory open
				t.Errorf("open in the child: %s", line)
			}
		}
	})
}

// A child that asked for the lifeline reads its end when the parent dies.
func TestLifeline(t *testing.T) {
	spec := sh("readlink /proc/self/fd/3; echo ready; cat <&3; echo unreachable")
	spec.Lifeline = true
	p, out, wait := background(t, spec)
	if l := out.line("pipe:"); l == "" {
		t.Error("descriptor 3 is not a pipe")
	}
	p.Stop(Cancelled)
	if rep := wait(); rep.Reason != Cancelled {
		t.Errorf("%+v", rep)
	}
}

// The child's environment carries one mark, after those it is itself part of.
func TestMark(t *testing.T) {
	t.Setenv(markVar, "outer.1.1;")
	s := open(t)
	_, out, _ := mustRun(t, s, sh("echo $"+markVar))
	mark, ok := strings.CutPrefix(strings.TrimSpace(out), "outer.1.1;")
	if !ok || strings.Count(mark, ";") != 1 {
		t.Errorf("mark %q", out)
	}
}

func TestNice(t *testing.T) {
	done := make(chan struct{})
	go func() { // its thread ends with it
		defer close(done)
		s, err := Open(SlotOptions{Nice: 7})
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		var out bytes.Buffer
		spec := sh("nice")
		spec.Stdout = &out
		if _, err := s.Run(spec, nil); err != nil || strings.TrimSpace(out.String()) != "7" {
			t.Errorf("nice is %q, %v", out.String(), err)
		}
	}()
	<-done
	if n, _ := unix.Getpriority(unix.PRIO_PROCESS, 0); n != 20 {
		t.Errorf("this thread's priority changed to %d", n)
	}
}

// Ten thousand starts leave no zombie and no descriptor.
func TestTenThousandStarts(t *testing.T) {
	n := 1000
	if os.Getenv("BROOD_LONG") != "" {
		n = 10000
	}
	bothWays(t, func(t *testing.T) {
		s := open(t)
		mustRun(t, s, sh("exit 0"))
		before := openFDs(t)
		for range n {
			rep, err := s.Run(&Spec{Path: "/bin/true", Stdout: io.Discard}, nil)
			if err != nil || !rep.OK() {
				t.Fatalf("%+v, %v", rep, err)
			}
		}
		if after := openFDs(t); after != before {
			t.Errorf("%d descriptors after %d starts, %d before", after, n, before)
		}
		self, err := readMember(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range self.children() {
			if st, err := readStat(pid); err == nil && st.dead() {
				t.Errorf("zombie: %+v", st)
			}
		}
	})
}

// Without Init there is an error and not a fork bomb.
func TestNoInit(t *testing.T) {
	inited = false
	defer func() { inited = true }()
	if _, err := Open(SlotOptions{}); !errors.Is(err, ErrNoInit) {
		t.Errorf("got %v", err)
	}
}

// CPU times are those of the whole tree.
func TestCPUTimes(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		s := open(t)
		rep, _, _ := mustRun(t, s, sh(`i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; (i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done)`))
		used, wall := rep.User+rep.System, rep.End.Sub(rep.Start)
		if used <= 20*time.Millisecond || used > 2*wall {
			t.Errorf("CPU %v in %v", used, wall)
		}
	})
}

// A child whose status somebody else has taken is lost, and not said to have succeeded.
func TestLost(t *testing.T) {
	cmd, out := prepare(t, "reaped")
	if err := cmd.Run(); err != nil || out.text() != "lost -1 <nil>\n" {
		t.Errorf("%v: %q", err, out.text())
	}
}

// Whatever of a start it is that there is no descriptor for, the error says so, and what to do.
func TestOutOfDescriptors(t *testing.T) {
	s := open(t)
	mustRun(t, s, sh("exit 0")) // what is opened once is there
	var was unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &was, nil); err != nil {
			t.Fatal(err)
		}
	}
	defer restore()
	failed := 0
	for most := uint64(3); ; most++ {
		low := unix.Rlimit{Cur: most, Max: was.Max}
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &low, nil); err != nil {
			t.Fatal(err)
		}
		rep, err := s.Run(&Spec{Path: "/bin/true", Stdout: io.Discard, Stderr: io.Discard}, nil)
		if err == nil && rep.OK() {
			break
		}
		restore()
		failed++
		if err != nil && (!errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "raise ulimit -n, or lower -j")) {
			t.Errorf("with %d descriptors: %v", most, err)
		}
		if most > 1000 {
			t.Fatalf("with %d descriptors nothing runs: %v, %+v", most, err, rep)
		}
	}
	if failed < 4 {
		t.Errorf("it failed %d times", failed)
	}
	// The child moves a descriptor above the highest: there is none.
	restore()
	const top = 900
	if err := unix.Dup3(int(os.Stderr.Fd()), top, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(top, "top")
	defer f.Close()
	low := unix.Rlimit{Cur: top + 1, Max: was.Max}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &low, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(&Spec{Path: "/bin/true", Stderr: f}, nil); !errors.Is(err, unix.EMFILE) {
		t.Errorf("without a number for a descriptor: %v", err)
	}
}
