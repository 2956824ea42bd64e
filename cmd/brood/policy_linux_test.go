package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// When brood is killed, what it had paused does not stay frozen: it is killed with it, with
// cgroups and without.
func TestKilledWithFrozen(t *testing.T) {
	brood := build(t)
	for _, way := range []string{"", "BROOD_NO_CGROUP=1"} {
		for round := range 3 {
			t.Run(fmt.Sprint(way, round), func(t *testing.T) {
				mark := fmt.Sprintf("frozen-%d-%s-%d", os.Getpid(), way, round)
				cmd := command(brood, mark, "run", "-j1", "--policy", "rr", "--slice", "10ms", "-u", "echo ready >&2; while :; do :; done; : {}", ":::", "a", "b", "c", "d")
				cmd.Env = append(cmd.Env, way, "BROOD_HISTORY=")
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				cmd.Stderr = w
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				w.Close()
				awaitPaused(t, cmd, r)
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				cmd.Wait()
				io.Copy(io.Discard, r)
				r.Close()
				awaitNone(t, mark)
			})
		}
	}
}

// awaitPaused asks brood what runs, once something does, until three jobs are paused.
func awaitPaused(t *testing.T, cmd *exec.Cmd, stderr io.Reader) {
	t.Helper()
	buf := make([]byte, 64<<10)
	if _, err := stderr.Read(buf); err != nil {
		t.Fatal(err)
	}
	for {
		if err := unix.Kill(cmd.Process.Pid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		n, err := stderr.Read(buf)
		if err != nil {
			t.Fatalf("brood ended: %v", err)
		}
		if strings.Count(string(buf[:n]), ", paused: waits for an earlier one") == 3 {
			return
		}
	}
}

// The job log has the time that a job ran, not that in which it was paused.
func TestJobLogOfPaused(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(build(t), "run", "-j1", "--policy", "rr", "--slice", "20ms", "--joblog", log, "--json",
		"i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; : {}", ":::", "a", "b", "c", "d")
	cmd.Env = append(os.Environ(), "BROOD_HISTORY=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var logged float64
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		var seconds float64
		if _, err := fmt.Sscan(strings.Split(line, "\t")[3], &seconds); err != nil {
			t.Fatal(err)
		}
		logged += seconds
	}
	var ran, paused float64
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var d description
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		ran += d.Run
		paused += d.Paused
	}
	// Each time is rounded to a millisecond in the log.
	if paused == 0 || logged < ran-0.01 || logged > ran+0.01 {
		t.Errorf("logged %v s, ran %v s, paused %v s", logged, ran, paused)
	}
}
