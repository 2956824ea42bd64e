package brood

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Whole programs, built and run.

// programs builds those in testdata once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "brood-programs-*")
	if err != nil {
		return "", err
	}
	removePrograms = func() { os.RemoveAll(dir) }
	out, err := exec.Command("go", "build", "-o", dir, "./testdata/programs/...").CombinedOutput()
	if err != nil {
		return dir, errors.New(string(out))
	}
	return dir, nil
})

// program is a command that runs one of them.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	watchdog(t, 2*time.Minute)
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(filepath.Join(dir, name), args...)
}

func TestUnguardedProgram(t *testing.T) {
	out, err := program(t, "unguarded").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "brood.Main(run)") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// A worker that does not come to the guard is told from one that crashes, in
// bounded time, and nothing multiplies.
func TestLateGuard(t *testing.T) {
	for how, want := range map[string]string{
		"ends":  "it ended before it called brood.Main or brood.Init",
		"waits": "it did not answer within 300ms: does its main call brood.Main or brood.Init first thing",
		"pools": "in the worker: brood: this process has not called brood.Main or brood.Init",
	} {
		cmd := program(t, "late", how)
		// The program tells its workers by their mark, so it must not have one itself.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BROOD_TREE=") })
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "(handshake)") {
			t.Errorf("%s: %v\n%s", how, err, out)
		}
	}
}

func TestFlagsParsedBeforeMain(t *testing.T) {
	if out, err := program(t, "flags", "-factor", "7").CombinedOutput(); err != nil || string(out) != "42\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

// The executable is replaced, or deleted, while the program runs. A start that the
// replacement overtakes between the look at the file and its execution fails, and is
// tried again.
func TestReplacedExecutable(t *testing.T) {
	for _, how := range []string{"replaced", "deleted"} {
		cmd := program(t, "replaced")
		b, err := os.ReadFile(cmd.Path)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, b, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args = path, []string{path}
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if how == "deleted" {
			os.Remove(path)
		} else {
			other := path + ".new"
			os.WriteFile(other, []byte("#!/bin/sh\nexit 3\n"), 0o700)
			os.Rename(other, path)
		}
		io.WriteString(in, "\n")
		rest, err := io.ReadAll(out)
		if err != nil || string(rest) != "4\n6\n" {
			t.Errorf("%s: %v %q", how, err, rest)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// The program in the README is what a new user tries first.
func TestReadmeProgram(t *testing.T) {
	watchdog(t, time.Minute)
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(text), "```go\n")
	code, _, _ = strings.Cut(code, "```")
	if n := strings.Count(code, "\n"); n == 0 || n > 15 {
		t.Errorf("it has %d lines, 15 are promised", n)
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "run", file).CombinedOutput(); err != nil || string(out) != "144 <nil>\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

// fakeBuild makes a worker one of another build.
var _ = func() bool {
	if id := os.Getenv("BROOD_TEST_BUILD"); id != "" {
		buildID = func() string { return id }
	}
	return true
}()

func TestAnotherBuildIsRefused(t *testing.T) {
	t.Setenv("BROOD_TEST_BUILD", "some-other-build")
	onProcesses(t, PoolOptions{Workers: 1, Spares: -1}, func(t *testing.T, p *ProcessPool) {
		_, err := square.Call(t.Context(), p, 1)
		var start *StartError
		if !errors.As(err, &start) || start.Stage != "handshake" || !strings.Contains(err.Error(), "another build") || !strings.Contains(err.Error(), "some-other-build") || !strings.Contains(err.Error(), buildID()) {
			t.Error(err)
		}
	})
	if id := elfBuildID("/proc/self/exe"); strings.Count(id, "/") != 3 {
		t.Errorf("not an id of Go's linker: %q", id)
	}
}

func TestGreeting(t *testing.T) {
	good := greeting{Token: "t", Build: buildID(), Table: tableHash()}
	if why := good.check("t"); why != "" {
		t.Error(why)
	}
	for _, c := range []struct {
		g    greeting
		want string
	}{
		{greeting{"x", good.Build, good.Table}, "token"},
		{greeting{"t", "x", good.Table}, "another build"},
		{greeting{"t", good.Build, 1}, "other names"},
	} {
		if why := c.g.check("t"); !strings.Contains(why, c.want) {
			t.Errorf("%+v: %q", c.g, why)
		}
	}
}

// The variable alone, without the socket, makes no worker.
func TestVariableWithoutSocket(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), (&handshake{token: "stolen", depth: 1}).variable(), "BROOD_TEST_ROLE=hello")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("%v %q", err, out)
	}
}

var _ = role("hello", func() { os.Stdout.WriteString("hello\n") })

// SIGTERM ends the context of Main, whose error is the last word.
func TestMainEndsByItsSignal(t *testing.T) {
	cmd := inRole("main")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "the end: context canceled") {
		t.Errorf("%v: %q", err, stderr.String())
	}
}
