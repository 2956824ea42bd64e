package space

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
)

// roleVar makes the test binary a peer, which does what it reads from its input.
const roleVar = "SPACE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVar) {
	case "":
		os.Exit(m.Run())
	case "peer":
		serve(os.Args[1], os.Args[2])
	case "storm":
		storm(os.Args[1], os.Args[2])
	case "full":
		full(os.Args[1])
	case "create":
		create(os.Args[1], os.Args[2])
	case "idle": // a child that was given nothing, and stays
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
	os.Exit(0)
}

// hang is how long anything may take before it counts as never.
const hang = 60 * time.Second

// testDir is a directory for spaces on the file system where they live. It checks that
// nothing is left in it.
func testDir(tb testing.TB) string {
	tb.Helper()
	base, err := os.MkdirTemp("/dev/shm", "brood-test-")
	if err != nil {
		base = tb.TempDir()
	}
	dir := filepath.Join(base, "spaces")
	tb.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) > 0 && !tb.Failed() {
			tb.Errorf("%d names are left in the directory, the first is %s", len(left), left[0].Name())
		}
		os.RemoveAll(base)
	})
	return dir
}

// open opens a space until the test's end.
func open(tb testing.TB, dir, name string) *File {
	tb.Helper()
	f, err := Open(dir, name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

// serve is a peer's life: it opens a space, says its ID, and obeys.
func serve(dir, name string) {
	f, err := Open(dir, name)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	o, err := f.Object(1, "test", [2]uint64{})
	if err != nil {
		panic(err)
	}
	fmt.Println(uint32(f.Self()))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		n := 0
		if len(words) > 1 {
			n, _ = strconv.Atoi(words[1])
		}
		switch words[0] {
		case "close":
			err = f.Close()
		case "open":
			f, err = Open(dir, name)
		case "load":
			fmt.Println(o.Word(n).Load())
			continue
		case "add": // to a word, and wake who sleeps on it
			w := o.Word(n)
			for v := w.Load(); !w.CompareAndSwap(v, v+1); v = w.Load() {
			}
			f.Wake(w, cell.All)
		case "wait": // until the word is not 0
			for w, d := o.Word(n), f.Watch(); err == nil && w.Load() == 0; d = f.Watch() {
				err = f.Wait(context.Background(), w, 0, d)
			}
		case "pong": // change 1 back into 0, until there is a 3
			for w, d := o.Word(0), f.Watch(); w.Load() != 3; {
				if w.CompareAndSwap(1, 0) {
					f.Wake(w, 1)
				} else {
					err = errors.Join(err, f.Wait(context.Background(), w, 0, d))
				}
			}
		case "exec": // become another program
			os.Setenv(roleVar, "idle")
			err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
		case "child": // leave a child behind, which keeps its own input
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), roleVar+"=idle")
			cmd.Stdin = os.NewFile(3, "input")
			err = cmd.Start()
		}
		answer, err2 := peerWork(f, o, words[0], n)
		if err = errors.Join(err, err2); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(answer)
	}
}

// peer is a process of the test's.
type peer struct {
	tb    testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	id    cell.ID
	ended bool
}

// start starts a peer and waits until it takes part.
func start(tb testing.TB, dir, name string, prepare ...func(*exec.Cmd)) *peer {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe", dir, name)
	cmd.Env = append(os.Environ(), roleVar+"=peer")
	cmd.Stderr = os.Stderr
	for _, p := range prepare {
		p(cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		if cmd.SysProcAttr != nil {
			tb.Skipf("the system refuses: %v", err)
		}
		tb.Fatal(err)
	}
	p := &peer{tb: tb, cmd: cmd, in: in, out: bufio.NewReader(out)}
	tb.Cleanup(p.kill)
	id, err := strconv.Atoi(p.answer())
	if err != nil {
		tb.Fatal(err)
	}
	p.id = cell.ID(id)
	return p
}

func (p *peer) answer() string {
	p.tb.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		p.tb.Fatalf("the peer says %q, %v", line, err)
	}
	return strings.TrimSpace(line)
}

// do makes the peer do something, and waits until it is done.
func (p *peer) do(what string) string {
	p.tb.Helper()
	p.begin(what)
	return p.answer()
}

// begin makes the peer do something.
func (p *peer) begin(what string) {
	p.tb.Helper()
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		p.tb.Fatal(err)
	}
}

// kill kills the peer, without any last word, and reaps it.
func (p *peer) kill() {
	if !p.ended {
		p.ended = true
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// object is the object that peers use.
func object(tb testing.TB, f *File) *Object {
	tb.Helper()
	o, err := f.Object(1, "test", [2]uint64{})
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// within gives a context that ends before the test's own deadline, which would say less.
func within(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), hang, fmt.Errorf("nothing happened in %v", hang))
	tb.Cleanup(cancel)
	return ctx
}

// threadsIn is the number of threads of this process that sleep in a futex with a mask.
func threadsIn(tb testing.TB) (n int) {
	tb.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		tb.Fatal(err)
	}
	for _, task := range tasks {
		// number, word, operation, …
		call, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/syscall")
		words := strings.Fields(string(call))
		if len(words) > 3 && words[0] == strconv.Itoa(unix.SYS_FUTEX) && words[2] == "0x9" {
			n++
		}
	}
	return n
}
