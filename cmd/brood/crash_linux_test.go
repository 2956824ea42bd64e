package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/journal"
)

// long reports whether the tests may take their time (make long).
var long = os.Getenv("BROOD_LONG") != ""

// build builds the command for the tests that run it as a whole.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "brood")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// command makes brood with arguments. A process that is left of it can be
// found by the mark in its environment.
func command(path, mark string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "CRASH_TEST_MARK="+mark)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// marked lists the processes whose environment carries the mark.
func marked(mark string) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err != nil || !bytes.Contains(b, []byte("CRASH_TEST_MARK="+mark)) {
			continue
		}
		if pid, _ := strconv.Atoi(strings.Split(d, "/")[2]); pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// awaitNone waits until nothing that carries the mark is left.
func awaitNone(t *testing.T, mark string) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		pids := marked(mark)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue
			}
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
			unix.Close(fd)
			if n == 0 || time.Now().After(end) {
				b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				t.Fatalf("process %d %q outlived brood", pid, b)
			}
		}
	}
}

// lines counts the lines of a file, 0 if there is none.
func lines(path string) int {
	b, _ := os.ReadFile(path)
	return bytes.Count(b, []byte("\n"))
}

// brood is killed at random moments and resumed, again and again: every job's
// side effect happens, that of a job which the journal has as ended happens no
// second time, its output is delivered, and no process is left.
func TestKilledAndResumed(t *testing.T) {
	path := build(t)
	kills := 36
	if long {
		kills = 6 * 200
	}
	for _, tt := range []struct {
		name, env string
		args      []string
	}{
		{"cgroup", "", nil},
		{"mark", "BROOD_NO_CGROUP=1", nil},
		{"in order", "", []string{"-k"}},
		{"setsid", "BROOD_NO_CGROUP=1", []string{"--lb"}},
		{"after", "", []string{"-k", "--name", "{}", "--after", "0"}},
		{"weighed", "", []string{"--weight", "2", "--cpus", "0.1", "--limit", "true", "--load", "1000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for c := (crash{t: t, path: path, left: kills / 6, rng: rand.New(rand.NewPCG(uint64(kills), 7))}); c.left > 0; {
				c.campaign(tt.name, tt.env, tt.args)
			}
		})
	}
}

// crash is what TestKilledAndResumed keeps between campaigns.
type crash struct {
	t    *testing.T
	path string // of brood
	left int    // kills to come
	rng  *rand.Rand
}

const crashJobs = 40

// campaign runs one batch to its end, with kills on the way.
func (c *crash) campaign(name, env string, args []string) {
	t := c.t
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	mark := fmt.Sprintf("%d-%s-%d", os.Getpid(), strings.ReplaceAll(name, " ", "-"), c.left)
	script := `echo x >> ` + dir + `/{}; echo out-{}`
	if name == "setsid" {
		script = `[ {} = 7 ] && setsid sleep 30 >/dev/null 2>&1 & ` + script
	}
	if name != "in order" {
		script += `; sleep 0.01`
	}
	args = append([]string{"run", "-j3", "--joblog", log, "--resume"}, args...)
	args = append(args, script, ":::")
	for i := range crashJobs {
		args = append(args, strconv.Itoa(i))
	}
	var output bytes.Buffer
	ended := map[journal.ID]int{} // jobs that have ended, and how often they had run by then
	killed := 0
	for done := false; !done; {
		cmd := command(c.path, mark, args...)
		if env != "" {
			cmd.Env = append(cmd.Env, env)
		}
		var errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if c.left > 0 && killed < 20 {
			timer := time.AfterFunc(time.Duration(5+c.rng.IntN(80))*time.Millisecond, func() { cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			done = err == nil
		} else if err := cmd.Wait(); err != nil {
			t.Fatalf("after %d kills: %v\n%s", killed, err, errs.String())
		} else {
			done = true
		}
		if !done {
			if s := cmd.ProcessState.String(); s != "signal: killed" {
				t.Fatalf("brood ended by itself: %s\n%s", s, errs.String())
			}
			killed++
			c.left--
		}
		awaitNone(t, mark)
		c.check(dir, log, ended)
	}
	c.finish(dir, killed, ended, output.String())
}

// check compares the journal with the facts: what had ended before has not run
// again.
func (c *crash) check(dir, log string, ended map[journal.ID]int) {
	known, err := journal.Read(log + ".journal")
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	for id, s := range known {
		if !s.Ended {
			continue
		}
		n := lines(filepath.Join(dir, strconv.Itoa(s.Seq-1)))
		if before, ok := ended[id]; ok && n != before {
			c.t.Errorf("job %d had ended, and ran again", s.Seq)
		} else if n == 0 {
			c.t.Errorf("job %d has ended, but never ran", s.Seq)
		}
		ended[id] = n
	}
}

// finish checks the end of a campaign.
func (c *crash) finish(dir string, killed int, ended map[journal.ID]int, output string) {
	total := 0
	for i := range crashJobs {
		n := lines(filepath.Join(dir, strconv.Itoa(i)))
		total += n
		if n == 0 || !strings.Contains(output, fmt.Sprintf("out-%d\n", i)) {
			c.t.Errorf("job %d: ran %d times, delivered %v", i+1, n, strings.Contains(output, fmt.Sprintf("out-%d\n", i)))
		}
	}
	// At most what was in flight, in three slots, is repeated.
	if len(ended) != crashJobs || total > crashJobs+3*killed {
		c.t.Errorf("%d jobs ended; %d runs of %d jobs after %d kills", len(ended), total, crashJobs, killed)
	}
}
