//go:build unix

package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("HISTORY_TEST_WRITER"); path != "" {
		writer(path)
		return
	}
	os.Exit(m.Run())
}

// writer flushes some runs again and again, and writes a line for each flush: as often as
// HISTORY_TEST_FLUSHES says, or until it is killed. With HISTORY_TEST_LIMIT no file gets
// longer than that, as on a full disk.
func writer(path string) {
	fail := func(err error) {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	if limit, err := strconv.ParseUint(os.Getenv("HISTORY_TEST_LIMIT"), 10, 64); err == nil {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			fail(err)
		}
	}
	flushes, _ := strconv.Atoi(os.Getenv("HISTORY_TEST_FLUSHES"))
	h := New(path, sleepGroup)
	for i := 0; flushes == 0 || i < flushes; i++ {
		for j := range writerRuns {
			h.Add([]string{strconv.Itoa(i), strconv.Itoa(j)}, Measure{Wall: time.Second, Memory: 1})
		}
		err := h.Flush()
		for errors.Is(err, ErrBusy) {
			err = h.Flush()
		}
		if err != nil {
			fail(err)
		}
		fmt.Println("flushed")
	}
}

const writerRuns = 7

func startWriter(t *testing.T, path string, env ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "HISTORY_TEST_WRITER="+path), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// A process that is killed at any moment leaves a store that is whole, and in it all that it had
// flushed.
func TestKilled(t *testing.T) {
	kills := 60
	if long {
		kills = 2000
	}
	path := filepath.Join(t.TempDir(), "history.db")
	rng := rand.New(rand.NewPCG(7, 7))
	flushed := 0
	for range kills {
		if rng.IntN(10) == 0 { // the file is made anew
			if err := Clear(path); err != nil {
				t.Fatal(err)
			}
			flushed = 0
		}
		cmd, _ := startWriter(t, path)
		cmd.Stdout = nil
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		enough := rng.IntN(30)
		timer := time.AfterFunc(time.Duration(rng.IntN(30_000))*time.Microsecond, func() {
			if enough%2 == 0 { // in the midst of the first, too
				cmd.Process.Kill()
			}
		})
		n := 0
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			if lines.Text() != "flushed" {
				t.Errorf("the writer says %q", lines.Text())
			}
			if n++; n == enough {
				cmd.Process.Kill()
			}
		}
		timer.Stop()
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := os.Stat(path); err == nil {
			flushed += n
			if runs := verifyWhole(t, path); runs < flushed*writerRuns || runs%writerRuns != 0 {
				t.Fatalf("%d runs are there, %d were flushed", runs, flushed*writerRuns)
			} else {
				flushed = runs / writerRuns
			}
		}
	}
}

// verifyWhole is verify, after an empty file has been filled.
func verifyWhole(t *testing.T, path string) int {
	t.Helper()
	if err := Prepare(path); err != nil {
		t.Fatal(err)
	}
	return verify(t, path)
}

// Processes that flush at the same time lose nothing of each other.
func TestProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	const processes, flushes = 4, 25
	var cmds []*exec.Cmd
	var outs []*bytes.Buffer
	for range processes {
		cmd, out := startWriter(t, path, "HISTORY_TEST_FLUSHES="+strconv.Itoa(flushes))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, outs[i])
		}
	}
	if runs := verify(t, path); runs != processes*flushes*writerRuns {
		t.Errorf("%d runs, want %d", runs, processes*flushes*writerRuns)
	}
	if e, _ := New(path, sleepGroup).Estimate([]string{"3", "3"}); e.Runs != processes {
		t.Error(e)
	}
}

// On a full disk a flush fails, and what was there stays.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	for _, limit := range []int{1, 4096, 10_000, 16_384, 20_000, 40_000, 100_000} {
		before := 0
		if fi, err := os.Stat(path); err == nil && fi.Size() > 0 {
			before = verifyWhole(t, path)
		}
		cmd, out := startWriter(t, path, "HISTORY_TEST_LIMIT="+strconv.Itoa(limit), "HISTORY_TEST_FLUSHES=10000")
		if err := cmd.Run(); err == nil || !bytes.Contains(out.Bytes(), []byte("file too large")) {
			t.Errorf("limit %d: %v\n%s", limit, err, out)
		}
		if limit < 16_384 {
			if err := Clear(path); err != nil {
				t.Fatal(err)
			}
			continue // not even an empty store
		}
		after := before + bytes.Count(out.Bytes(), []byte("flushed"))*writerRuns
		if runs := verifyWhole(t, path); runs != after {
			t.Errorf("limit %d: %d runs, want %d", limit, runs, after)
		}
	}
}
