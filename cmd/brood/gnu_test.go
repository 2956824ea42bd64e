package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// The cases in testdata/gnu are command lines of GNU parallel's tutorial and manual page, with what
// GNU parallel does with them. brood has to do the same.
//
// A case is a txtar archive. Its comment has, after #, where the command line is from and what it
// is about, and then a shell script in which PROGRAM stands for "parallel" or "brood run", and SEM
// for "sem" or "brood sem". Its files are
//
//	NAME          an input file
//	gnu/script    the script for GNU parallel where it has to be another one; the comment says why
//	gnu/stdout    what GNU parallel writes, and what brood has to write
//	gnu/stderr    likewise; without it, standard error is not compared
//	gnu/code      the exit code of the script
//	gnu/FILE.log  a job log that the script leaves, in the order of the job numbers, without what no
//	              two runs have in common: Host, Starttime and JobRuntime
//	ours/...      what brood has to write instead. The comment says after "# Ours:" why
//
// Without the flag -record the gnu files are what is stored, so that the test runs anywhere; with
// it, they are written anew, by the parallel that is installed. Where that is GNU parallel, of the
// version in testdata/gnu/VERSION, the test runs it as well, to see that the files are true: a
// few cases by default, all of them in the long mode.

var record = flag.Bool("record", false, "write testdata/gnu anew, from the GNU parallel that is installed")

// gnuCase is a case.
type gnuCase struct {
	path    string
	archive *txtar.Archive
	ours    string // why something is different
	script  string // PROGRAM and SEM are not replaced yet
	inputs  map[string][]byte
	gnu     outcome
	own     outcome // which of it is different
}

// outcome is what a script has left, by the names of a case's files.
type outcome map[string]string

func readGNUCase(path string) (*gnuCase, error) {
	a, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	c := &gnuCase{path: path, archive: a, inputs: make(map[string][]byte), gnu: make(outcome), own: make(outcome)}
	from := false
	for line := range strings.Lines(string(a.Comment)) {
		text, ok := strings.CutPrefix(line, "#")
		if !ok {
			c.script += line
			continue
		}
		from = from || regexp.MustCompile(`^ (tutorial|man parallel|man sem), `).MatchString(text)
		if why, ok := strings.CutPrefix(text, " Ours:"); ok {
			c.ours = why
		}
	}
	if !from {
		return nil, errors.New("the comment does not begin with where the command line is from: # tutorial, ...")
	}
	for _, f := range a.Files {
		dir, name, nested := strings.Cut(f.Name, "/")
		switch {
		case nested && dir == "gnu":
			c.gnu[name] = string(f.Data)
		case nested && dir == "ours":
			c.own[name] = string(f.Data)
		default:
			c.inputs[f.Name] = f.Data
		}
	}
	if len(c.own) > 0 && c.ours == "" {
		return nil, errors.New("something is different, and the comment does not say why: # Ours: ...")
	}
	for name, text := range c.own {
		if stored, ok := c.gnu[name]; ok && text == stored {
			return nil, fmt.Errorf("ours/%s is as gnu/%s: it is not different", name, name)
		}
	}
	return c, nil
}

// place makes the directory where a script runs, and its home beside it.
func (c *gnuCase) place(root string) (dir, home string, err error) {
	root, err = os.MkdirTemp(root, "")
	dir, home = filepath.Join(root, "work"), filepath.Join(root, "home")
	for _, d := range []string{dir, filepath.Join(home, "tmp"), filepath.Join(home, ".parallel")} {
		err = errors.Join(err, os.MkdirAll(d, 0o700))
	}
	// As GNU parallel asks to be cited, it is told that this is known.
	err = errors.Join(err, os.WriteFile(filepath.Join(home, ".parallel", "will-cite"), nil, 0o600))
	for name, text := range c.inputs {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	return dir, home, err
}

// run runs the script, as that of one of the two, below the directory root.
func (c *gnuCase) run(root string, gnu bool) (outcome, error) {
	dir, home, err := c.place(root)
	if err != nil {
		return nil, err
	}
	script, program, sem := c.script, "brood run", "brood sem"
	if gnu {
		program, sem = "parallel", "sem"
		if s, ok := c.gnu["script"]; ok {
			script = s
		}
	}
	script = strings.NewReplacer("PROGRAM", program, "SEM", sem).Replace(script)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + filepath.Join(home, "tmp"),
		"LC_ALL=C", "SHELL=/bin/sh", "PARALLEL_SHELL=/bin/sh", "GORACE=atexit_sleep_ms=50",
		"BROOD_HISTORY=", "BROOD_SPACE_DIR=" + filepath.Join(home, "spaces")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		return nil, fmt.Errorf("%w, %w, stderr %q", err, ctx.Err(), stderr.String())
	}
	o := outcome{"stdout": stdout.String(), "stderr": stderr.String(), "code": strconv.Itoa(cmd.ProcessState.ExitCode()) + "\n"}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, l := range logs {
		text, rerr := jobLog(l)
		o[filepath.Base(l)], err = text, errors.Join(err, rerr)
	}
	return o, err
}

// jobLog is a job log in the order of the job numbers, without Host, Starttime and JobRuntime.
func jobLog(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		row := strings.Split(line, "\t")
		if len(row) < 9 {
			return "", fmt.Errorf("%s has no nine columns: %q", path, line)
		}
		rows = append(rows, slices.Delete(row, 1, 4))
	}
	slices.SortStableFunc(rows[1:], func(a, b []string) int {
		n, _ := strconv.Atoi(a[0])
		m, _ := strconv.Atoi(b[0])
		return n - m
	})
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(strings.Join(r, "\t"))
	}
	return b.String(), nil
}

// compare tells what is not as it was stored.
func (c *gnuCase) compare(t *testing.T, who string, got outcome, want func(name string) string) {
	t.Helper()
	for name := range got {
		if _, stored := c.gnu[name]; name == "stderr" && !stored && c.own[name] == "" {
			continue
		}
		if w := want(name); got[name] != w {
			t.Errorf("%s: %s of\n%s\nis\n%s\nwant\n%s\nstderr\n%s", who, name, c.script, got[name], w, got["stderr"])
		}
	}
	for name := range c.gnu {
		if _, ok := got[name]; !ok && name != "script" {
			t.Errorf("%s leaves no %s", who, name)
		}
	}
}

// renew writes the case with what GNU parallel has left.
func (c *gnuCase) renew(t *testing.T, got outcome) {
	t.Helper()
	a := &txtar.Archive{Comment: c.archive.Comment}
	for _, f := range c.archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "gnu/"); !ok || name == "script" {
			a.Files = append(a.Files, f)
		}
	}
	names := []string{"stdout", "code"}
	if _, ok := c.gnu["stderr"]; ok {
		names = append(names, "stderr")
	}
	for name := range got {
		if strings.HasSuffix(name, ".log") {
			names = append(names, name)
		}
	}
	slices.Sort(names[1:])
	for _, name := range names {
		c.gnu[name] = got[name]
		if text := got[name]; text != "" && !strings.HasSuffix(text, "\n") {
			t.Fatalf("gnu/%s does not end with a newline, and an archive can't have that: %q", name, text)
		}
		a.Files = append(a.Files, txtar.File{Name: "gnu/" + name, Data: []byte(got[name])})
	}
	if err := os.WriteFile(c.path, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// gnuVersion is the first line that the installed parallel has to say, if that is GNU parallel.
func gnuVersion(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("parallel", "--version")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "GNU parallel ") {
		return ""
	}
	return strings.SplitAfterN(string(out), "\n", 2)[0]
}

// gnuUsual are the cases that GNU parallel runs by default as well: it takes a while to start.
var gnuUsual = []string{"combinations", "joblog"}

// brood does what GNU parallel does, byte for byte.
func TestGNU(t *testing.T) {
	paths, err := filepath.Glob("testdata/gnu/*.txtar")
	if err != nil || len(paths) < 60 {
		t.Fatalf("only %d cases, %v", len(paths), err)
	}
	version := gnuVersion(t)
	if *record {
		if version == "" {
			t.Fatal("-record needs GNU parallel: there is none in PATH")
		}
		if err := os.WriteFile("testdata/gnu/VERSION", []byte(version), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile("testdata/gnu/VERSION")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("what is stored is of %s, installed is %q", strings.TrimSpace(string(stored)), strings.TrimSpace(version))
	runs := startGNU(t, paths, version != "" && version == string(stored))
	for i, path := range paths {
		t.Run(gnuName(path), func(t *testing.T) {
			r := <-runs[i]
			if r.err != nil {
				t.Fatal(r.err)
			}
			c := r.gnuCase
			lacks := strings.Contains(r.gnu["stderr"], "The perl module ")
			switch {
			case lacks && *record:
				t.Fatalf("-record: %s", r.gnu["stderr"])
			case lacks:
				t.Logf("GNU parallel can't do this here: %s", r.gnu["stderr"])
			case *record:
				c.renew(t, r.gnu)
			case r.gnu != nil:
				c.compare(t, "GNU parallel", r.gnu, func(name string) string { return c.gnu[name] })
			}
			c.compare(t, "brood", r.own, func(name string) string {
				if text, ok := c.own[name]; ok {
					return text
				}
				return c.gnu[name]
			})
		})
	}
}

// gnuRun is what has become of a case.
type gnuRun struct {
	*gnuCase
	gnu, own outcome // gnu is nil where GNU parallel did not run
	err      error
}

// startGNU runs the cases, several at a time: most of them sleep. Each has a channel to tell.
func startGNU(t *testing.T, paths []string, gnu bool) (runs []chan gnuRun) {
	root := t.TempDir()
	places := make(chan bool, 4*runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	for _, path := range paths {
		told := make(chan gnuRun, 1)
		runs = append(runs, told)
		all.Go(func() {
			places <- true
			defer func() { <-places }()
			var r gnuRun
			if r.gnuCase, r.err = readGNUCase(path); r.err == nil && (*record || gnu && (os.Getenv("BROOD_LONG") != "" || slices.Contains(gnuUsual, gnuName(path)))) {
				r.gnu, r.err = r.run(root, true)
			}
			if r.err == nil {
				r.own, r.err = r.run(root, false)
			}
			told <- r
		})
	}
	return runs
}

// gnuName is the name of a case.
func gnuName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".txtar") }
