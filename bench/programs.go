package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// spawnLoop is the floor: two posix_spawn in flight, nothing else.
const spawnLoop = `#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
extern char **environ;
int main(int argc, char **argv) {
	int n = atoi(argv[1]), running = 0;
	for (int i = 0; i < n; i++) {
		pid_t pid;
		if (running == 2) { wait(NULL); running--; }
		if (posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ)) return 1;
		running++;
	}
	while (running--) wait(NULL);
	return 0;
}
`

// build makes brood and, with a C compiler, the spawn loop.
func (b *bench) build() error {
	b.brood = filepath.Join(b.dir, "brood")
	cmd := exec.Command("go", "build", "-o", b.brood, "./cmd/brood")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build brood: %w\n%s", err, out)
	}
	src, bin := filepath.Join(b.dir, "spawn.c"), filepath.Join(b.dir, "spawn")
	if err := os.WriteFile(src, []byte(spawnLoop), 0o644); err != nil {
		return err
	}
	if exec.Command("cc", "-O2", "-o", bin, src).Run() == nil {
		b.spawn = command{name: "bare posix_spawn", argv: []string{bin}}
		return nil
	}
	self, err := os.Executable()
	b.spawn = command{name: "bare loop in Go (no C compiler)", argv: []string{self, goLoop}}
	return err
}

// goLoop makes this program the spawn loop, where there is no C compiler.
const goLoop = "spawn-loop"

// loopInGo is spawnLoop with what Go has.
func loopInGo(count string, argv []string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	attr := &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
	running := make(chan struct{}, 2)
	for range n {
		running <- struct{}{}
		p, err := os.StartProcess(path, argv, attr)
		if err != nil {
			return err
		}
		go func() {
			p.Wait()
			<-running
		}()
	}
	for range cap(running) {
		running <- struct{}{}
	}
	return nil
}

// bare is the spawn loop with arguments.
func (b *bench) bare(args ...string) command {
	return command{b.spawn.name, slices.Concat(b.spawn.argv, args), "", 1, 0}
}

// installed is a command, nil if it is not installed.
func installed(name string, args ...string) []string {
	if _, err := exec.LookPath(name); err != nil {
		return nil
	}
	return append([]string{name}, args...)
}

// gnu is GNU parallel's command, nil if it is not installed. moreutils has a
// program of that name as well.
func gnu(args ...string) []string {
	if strings.HasPrefix(output("parallel", "--version"), "GNU parallel") {
		return installed("parallel", args...)
	}
	return nil
}

// moreutils is the command of the parallel in moreutils, nil if it is not
// installed. Debian renames it when GNU parallel is there.
func moreutils(args ...string) []string {
	if argv := installed("parallel.moreutils", args...); argv != nil || gnu() != nil {
		return argv
	}
	return installed("parallel", args...)
}

// file writes the numbers from 1 to n, one a line.
func (b *bench) file(name string, n int) (string, error) {
	var text strings.Builder
	for i := range n {
		fmt.Fprintln(&text, i+1)
	}
	path := filepath.Join(b.dir, name)
	return path, os.WriteFile(path, []byte(text.String()), 0o644)
}

// sources lists as many files of the Go tree as there are jobs.
func (b *bench) sources() (string, error) {
	var list []string
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || len(list) == b.jobs {
			return fs.SkipAll
		}
		if d.Type().IsRegular() && strings.HasSuffix(path, ".go") {
			list = append(list, path)
		}
		return nil
	})
	if err == nil && len(list) < b.jobs {
		err = fmt.Errorf("%s has only %d Go files, %d are needed", root, len(list), b.jobs)
	}
	path := filepath.Join(b.dir, "files")
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Join(list, "\n")+"\n"), 0o644)
	}
	return path, err
}

func read(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// time runs a program once and returns its seconds for the whole work.
func (b *bench) time(s command) (float64, error) {
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "SHELL=/bin/sh") // the same shell for all
	cmd.Stderr = os.Stderr
	if s.stdin != "" {
		f, err := os.Open(s.stdin)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	began := time.Now()
	err := cmd.Run()
	return time.Since(began).Seconds() / s.share, err
}

// ownCPU measures the CPU time of brood itself, without that of the jobs: it is
// read while a last job holds brood alive.
func (b *bench) ownCPU() error {
	var per []float64
	for range b.rounds {
		ticks, err := b.ownTicks()
		if err != nil {
			return fmt.Errorf("own CPU: %w", err)
		}
		per = append(per, float64(ticks)*10/float64(b.jobs))
	}
	fmt.Fprintf(b.out, "Own CPU time for each job (%d × true, job log on): median %.3f ms (%.3f–%.3f) of %d runs; target ≤ 0.25 ms: %s.\n\n",
		b.jobs, median(per), slices.Min(per), slices.Max(per), len(per), yes(median(per) <= 0.25))
	return nil
}

// ownTicks runs the jobs and one more, which says that it runs and then waits to be
// let go. Both pipes stay open here for reading and writing from before brood starts
// until it has ended: so neither side waits in open, and no word is lost with the
// last reader.
func (b *bench) ownTicks() (ticks int, err error) {
	pipes := make([]*os.File, 2)
	for i, name := range []string{"up", "down"} {
		path := filepath.Join(b.dir, name)
		os.Remove(path)
		if out, err := exec.Command("mkfifo", path).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("mkfifo: %w %s", err, out)
		}
		if pipes[i], err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			return 0, err
		}
		defer pipes[i].Close()
	}
	up, down := pipes[0], pipes[1]
	cmd := exec.Command(b.brood, "run", "-j2", "--joblog", filepath.Join(b.dir, "log"))
	cmd.Stdin = strings.NewReader(strings.Repeat("true\n", b.jobs) + "echo runs > " + up.Name() + "; read word < " + down.Name() + "\n")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	// A brood that fails before the last job must not hold this program for ever.
	err = up.SetReadDeadline(time.Now().Add(5 * time.Minute))
	if err == nil {
		_, err = up.Read(make([]byte, 8)) // the last job runs: the others are done or nearly so
	}
	if err == nil {
		ticks, err = cpuTicks(cmd.Process.Pid)
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return 0, err
	}
	if _, err := down.WriteString("go\n"); err != nil {
		return 0, err
	}
	return ticks, cmd.Wait()
}

// cpuTicks is the user and system time of a process in hundredths of a second.
func cpuTicks(pid int) (int, error) {
	text := read(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 13 {
		return 0, fmt.Errorf("no CPU time of process %d", pid)
	}
	user, err := strconv.Atoi(f[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(f[12])
	return user + system, err
}

// heading says where, when and by what the figures were made.
func (b *bench) heading() {
	fmt.Fprintf(b.out, "Made by `make bench`: brood and its peers in turns, %d rounds after one to warm up; times are medians,\n"+
		"ratios are medians of the ratios within each round. Absolute times are of this machine in this hour.\n\n", b.rounds)
	model := "unknown CPU"
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	fmt.Fprintf(b.out, "- machine: %s, %d CPUs, Linux %s, %s\n", model, runtime.NumCPU(), output("uname", "-r"), runtime.Version())
	fmt.Fprintf(b.out, "- command: `cd bench && go run . %s`\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(b.out, "- commit: %s, %s\n", output("git", "rev-parse", "--short", "HEAD"), time.Now().Format(time.DateOnly))
	fmt.Fprintf(b.out, "- peers: %s; %s; moreutils %s\n", output("xargs", "--version"), output("parallel", "--version"), output("dpkg-query", "-W", "-f", "${Version}", "moreutils"))
	fmt.Fprintf(b.out, "- the command runs with its job log and full supervision on, GNU parallel with its job log, the others have none\n")
	fmt.Fprintf(b.out, "- the library's pools have %d workers, and so have the peers'; peers: %s; C by %s; %s\n\n", runtime.NumCPU(), output("python3", "--version"), output("cc", "--version"), modules())
}

// modules names the versions of the peers that are Go modules.
func modules() string {
	var all []string
	for _, m := range []string{"github.com/hashicorp/go-plugin", "github.com/panjf2000/ants/v2", "github.com/alitto/pond/v2", "github.com/sourcegraph/conc", "golang.org/x/sync"} {
		all = append(all, output("go", "list", "-m", m))
	}
	return strings.Join(all, "; ")
}

// output is the first line that a command writes.
func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "not installed"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
