package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen collects what a command writes to its terminal.
type screen struct {
	mu   sync.Mutex
	cond *sync.Cond
	text bytes.Buffer
	end  bool
}

// onTerminal starts brood on a terminal of its own.
func onTerminal(t *testing.T, path string, args ...string) (*exec.Cmd, *os.File, *screen) {
	t.Helper()
	cmd := exec.Command(path, args...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{}
	s.cond = sync.NewCond(&s.mu)
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.end = err != nil
			s.cond.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		tty.Close()
		reader.Wait()
	})
	return cmd, tty, s
}

// String is what was written so far.
func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits for a text on the screen.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !strings.Contains(s.text.String(), text) {
		if s.end {
			t.Fatalf("the screen never showed %q:\n%s", text, s.text.String())
		}
		s.cond.Wait()
	}
}

// awaitState waits until a process is in a state, as in /proc/PID/stat.
func awaitState(t *testing.T, pid int, state string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		rest := string(b[bytes.LastIndexByte(b, ')')+2:])
		if strings.HasPrefix(rest, state) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d never got into state %s: %s", pid, state, rest[:1])
		}
	}
}

// exit waits for the end and returns the exit code.
func exit(cmd *exec.Cmd) int {
	cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func TestTerminal(t *testing.T) {
	path := build(t)
	t.Run("a job reads the terminal", func(t *testing.T) {
		cmd, tty, s := onTerminal(t, path, "run", "--tty", `echo ask; read x; echo "got $x {}"`, ":::", "a", "b")
		for _, v := range []string{"a", "b"} {
			s.await(t, "ask")
			fmt.Fprintln(tty, "hello "+v)
			s.await(t, "got hello "+v+" "+v)
		}
		if code := exit(cmd); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("Ctrl-C goes to the job, and ends the batch", func(t *testing.T) {
		cmd, tty, s := onTerminal(t, path, "run", "--tty", `echo ready {}; exec sleep 1000`, ":::", "a", "b")
		s.await(t, "ready a")
		tty.Write([]byte{3})
		if code := exit(cmd); code != 1 {
			t.Errorf("exit code %d", code)
		}
		if strings.Contains(s.String(), "ready b") {
			t.Error("the next job was started")
		}
	})
	t.Run("Ctrl-\\ kills at once", func(t *testing.T) {
		cmd, tty, s := onTerminal(t, path, "run", "--lb", `trap "" TERM INT QUIT; echo {} is ready; while :; do :; done`, ":::", "a")
		s.await(t, "a is ready")
		tty.Write([]byte{28})
		s.await(t, "stopped by quit: 1 done, 0 read but not run")
		if code := exit(cmd); code != 1 || strings.Contains(s.String(), "goroutine") {
			t.Errorf("exit code %d, screen %q", code, s.String())
		}
	})
	t.Run("Ctrl-Z and fg reach the job that has the terminal", func(t *testing.T) {
		cmd, tty, s := onTerminal(t, path, "run", "--tty", `echo pid $$; read x; echo "got $x {}"`, ":::", "a")
		s.await(t, "pid ")
		tty.Write([]byte{26})
		awaitState(t, cmd.Process.Pid, "T")
		cmd.Process.Signal(syscall.SIGCONT)
		fmt.Fprintln(tty, "again")
		s.await(t, "got again a")
		if code := exit(cmd); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("Ctrl-Z and fg reach all jobs", func(t *testing.T) {
		dir := t.TempDir()
		cmd, tty, s := onTerminal(t, path, "run", "-j2", "--lb", `echo ready-{} $$; echo $$ > `+dir+`/{}; while [ ! -e `+dir+`/go ]; do :; done; echo done-{}`, ":::", "a", "b")
		var pids []int
		for _, v := range []string{"a", "b"} {
			s.await(t, "ready-"+v)
			var pid int
			for pid == 0 {
				b, _ := os.ReadFile(dir + "/" + v)
				fmt.Sscan(string(b), &pid)
			}
			pids = append(pids, pid)
		}
		tty.Write([]byte{26})
		awaitState(t, cmd.Process.Pid, "T")
		for _, pid := range pids {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
			if !bytes.Contains(b, []byte("brood-")) { // the freezer shows another state
				awaitState(t, pid, "T")
			}
		}
		if err := os.WriteFile(dir+"/go", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(s.String(), "done-") {
			t.Error("a job went on")
		}
		cmd.Process.Signal(syscall.SIGCONT)
		s.await(t, "done-a")
		s.await(t, "done-b")
		if code := exit(cmd); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("progress is one line, and makes room for output", func(t *testing.T) {
		cmd, _, s := onTerminal(t, path, "run", "--bar", "-j1", "echo out-{}", ":::", "a", "b")
		s.await(t, "2 jobs done in")
		if code := exit(cmd); code != 0 || !strings.Contains(s.String(), "\r\x1b[K") {
			t.Errorf("exit code %d, screen %q", code, s.String())
		}
	})
	t.Run("who forgot the input is told what is waited for", func(t *testing.T) {
		cmd, tty, s := onTerminal(t, path, "run", "echo out-{}")
		s.await(t, "brood: inputs are read from the terminal")
		fmt.Fprint(tty, "a\n\x04")
		s.await(t, "out-a")
		if code := exit(cmd); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("brood sem gives the command the terminal, and Ctrl-C", func(t *testing.T) {
		t.Setenv("BROOD_SPACE_DIR", t.TempDir()+"/spaces")
		cmd, tty, s := onTerminal(t, path, "sem", "--fg", "-u", `echo ask; read x; echo "got $x"; exec sleep 1000`)
		s.await(t, "ask")
		fmt.Fprintln(tty, "hello")
		s.await(t, "got hello")
		tty.Write([]byte{3})
		if code := exit(cmd); code != 130 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("colours, unless NO_COLOR or a dumb terminal", func(t *testing.T) {
		for _, test := range []struct {
			env   string
			color bool
		}{{"TERM=xterm", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
			name, value, _ := strings.Cut(test.env, "=")
			t.Run(test.env, func(t *testing.T) {
				t.Setenv("TERM", "xterm")
				t.Setenv("NO_COLOR", "")
				t.Setenv(name, value)
				cmd, _, s := onTerminal(t, path, "run", "--bar", "exit {}", ":::", "1")
				s.await(t, "1 job done, 1 failed (1 exit)")
				exit(cmd)
				if strings.Contains(s.String(), red+"brood: 1 job done") != test.color || strings.Contains(s.String(), "m[") != test.color {
					t.Errorf("the screen is %q", s.String())
				}
			})
		}
	})
	t.Run("a failure is told without being asked", func(t *testing.T) {
		cmd, _, s := onTerminal(t, path, "run", "exit {}", ":::", "0", "3")
		s.await(t, "brood: 2 jobs done, 1 failed (1 exit)")
		if code := exit(cmd); code != 1 {
			t.Errorf("exit code %d", code)
		}
	})
}
