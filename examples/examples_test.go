//go:build linux

// Package examples_test runs the course: every chapter is a program, and what it
// must show is asserted here.
package examples_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/brood-go/brood" // a change of it must make go test run these again
)

// bin is where the programs are built, once for all tests.
var bin string

// Every process of these tests carries this mark, so that those which are left behind
// can be told from others.
var mark = fmt.Sprintf("examples%d;", os.Getpid())

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "brood-examples")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	if out, err := exec.Command("go", "build", "-o", dir+"/", "./...").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the examples: %v\n%s", err, out)
		return 1
	}
	os.Setenv("BROOD_TREE", os.Getenv("BROOD_TREE")+mark)
	code := m.Run()
	if left := leftovers(); left != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	return code
}

// leftovers waits for processes that are on their way out, and lists those that stay.
func leftovers() (left string) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		var found []string
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(mark)) && f != fmt.Sprintf("/proc/%d/environ", os.Getpid()) {
				line, _ := os.ReadFile(filepath.Dir(f) + "/cmdline")
				found = append(found, fmt.Sprintf("%s %q", f, line))
			}
		}
		if left = strings.Join(found, ", "); left == "" {
			return ""
		}
	}
	return left
}

// deadline is longer than any chapter takes on a busy machine.
const deadline = 3 * time.Minute

// output is what a program wrote.
type output struct {
	t              *testing.T
	stdout, stderr string
}

// play runs a chapter to its end, and checks that it prints what the document shows. One that
// hangs says where.
func play(t *testing.T, chapter string, args ...string) *output {
	t.Helper()
	t.Parallel()
	// To read the source makes go test run the test again when it has changed.
	if _, err := os.ReadFile(filepath.Join(chapter, "main.go")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), deadline)
	defer stop()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(bin, chapter), args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it dumps its stacks
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	out := &output{t, stdout.String(), stderr.String()}
	if ctx.Err() != nil {
		t.Fatalf("%s has not ended after %v\n%s", chapter, deadline, out)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", chapter, err, out)
	}
	out.asShown(chapter)
	return out
}

// String is all of it, for a failure's message.
func (o *output) String() string {
	return fmt.Sprintf("its output:\n%s\nits errors:\n%s", o.stdout, o.stderr)
}

// find is the only line that matches, and where it is: its number among the lines,
// and the groups of the expression.
func (o *output) find(line string) (number int, groups []string) {
	o.t.Helper()
	re := regexp.MustCompile("^" + line + "$")
	found := 0
	for i, l := range strings.Split(o.stdout, "\n") {
		if m := re.FindStringSubmatch(l); m != nil {
			number, groups = i, m[1:]
			found++
		}
	}
	if found != 1 {
		o.t.Fatalf("%d lines are %q, want 1; %s", found, line, o)
	}
	return number, groups
}

// ints is find for groups that are numbers.
func (o *output) ints(line string) (all []int) {
	o.t.Helper()
	_, groups := o.find(line)
	for _, g := range groups {
		n, err := strconv.Atoi(g)
		if err != nil {
			o.t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// inOrder checks that the lines are there and follow one another.
func (o *output) inOrder(lines ...string) {
	o.t.Helper()
	last := -1
	for _, line := range lines {
		n, _ := o.find(line)
		if n < last {
			o.t.Errorf("%q is too early; %s", line, o)
		}
		last = n
	}
}

func TestProcess(t *testing.T) { beside(play(t, "process"), "") }

func TestProcessType(t *testing.T) { beside(play(t, "process_type"), ": hello, Ada") }

// beside checks that the parent goes on while its child runs.
func beside(o *output, said string) {
	o.t.Helper()
	parent := o.ints(`parent (\d+) begins`)[0]
	child := o.ints(`child (\d+) begins` + said)[0]
	if parent == child {
		o.t.Errorf("parent and child are the same process %d", parent)
	}
	goesOn := fmt.Sprintf("parent %d goes on beside child %d", parent, child)
	o.inOrder(`parent \d+ begins`, goesOn, fmt.Sprintf("child %d ends", child))
	o.inOrder(`child \d+ begins`+said, fmt.Sprintf("child %d ends", child))
}

func TestJoin(t *testing.T) {
	o := play(t, "join")
	n := o.ints(`all joined after (\d+) ms: the longest sleeps for (\d+) ms, the sum is (\d+) ms`)
	total, longest, sum := n[0], n[1], n[2]
	if total < longest || total > longest+(sum-longest)*2/3 {
		t.Errorf("joined after %d ms, want at least the longest, %d ms, and well below the sum, %d ms", total, longest, sum)
	}
	for _, units := range []string{"1", "2", "3"} {
		o.inOrder("child of "+units+" units: done", "all joined after .*")
	}
}

func TestIsolation(t *testing.T) {
	play(t, "isolation").inOrder(
		"parent: number is 18",
		"child: number is 16",
		"parent: the child returned 16",
		"parent: number is still 18")
}

func TestPids(t *testing.T) {
	o := play(t, "pids")
	we := o.ints(`we are (\d+)`)[0]
	n := o.ints(`the first child is (\d+) and says that it is (\d+) and its parent is (\d+)`)
	if n[0] != n[1] || n[0] == we || n[2] != we {
		t.Errorf("child %d says that it is %d, child of %d; its parent is %d", n[0], n[1], n[2], we)
	}
	o.inOrder(
		"the second child is alive: true",
		`right after Terminate it is alive: (?:true|false) \(it may be\)`,
		"after Join it is alive: false",
		"its exit code is -15")
}

func TestZombies(t *testing.T) {
	starts := "1000"
	if testing.Short() || os.Getenv("BROOD_NO_CGROUP") != "" { // without, /proc is read for each end
		starts = "100"
	}
	play(t, "zombies", starts).inOrder(
		"a bare child that has ended: state Z",
		"the same after Wait: state none",
		"brood's children: "+starts+" started, 0 zombies",
		`children of a killed parent: 3 before, 0 left after \d+ ms`)
}

func TestDaemon(t *testing.T) {
	o := play(t, "daemon") // its daemon would sleep for an hour
	o.inOrder("main ends", "child ends")
	if strings.Contains(o.stdout, "daemon ends") {
		t.Errorf("the daemon came to its end; %s", o)
	}
	daemon := o.ints(`the daemon is process (\d+)`)[0]
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", daemon)); err == nil && bytes.Contains(b, []byte(mark)) {
		t.Errorf("the daemon %d is still there", daemon)
	}
}

func TestSubmission(t *testing.T) {
	const pause = 500 // of a task, in ms
	o := play(t, "submission")
	if n := o.ints(`Call waited (\d+) ms and returned 2 <nil>`); n[0] < pause {
		t.Errorf("Call returned after %d ms, its task takes %d", n[0], pause)
	}
	if n := o.ints(`Submit and Submit took (\d+) ms`); n[0] >= pause {
		t.Errorf("Submit returned after %d ms: it waited for the task, which takes %d", n[0], pause)
	}
	o.inOrder(
		"states: running queued",
		"Result that may not wait: context canceled",
		"select: not done",
		`Result blocked for \d+ ms and returned 6 <nil>`,
		"states: succeeded succeeded",
		"TryGet does not wait: true",
		"Get blocks, its task is running",
		"Get returned an item <nil>")
	if n := o.ints(`Result blocked for (\d+) ms and returned 6 <nil>`); n[0] < pause {
		t.Errorf("Result returned after %d ms, before the task could be done, which takes %d", n[0], pause)
	}
}

func TestPool(t *testing.T) {
	o := play(t, "pool")
	var want []string
	for n := range 50 {
		want = append(want, strconv.Itoa(n))
	}
	for _, pool := range []string{"threads", "processes"} {
		o.find(pool + ` results: \[` + strings.Join(want, " ") + `\]`)
		if n := o.ints(pool + ` at most at once: (\d+)`); n[0] < 2 || n[0] > 4 {
			t.Errorf("%s ran %d tasks at once, want several and never more than the 4 workers", pool, n[0])
		}
		o.find(pool + " after Shutdown the last one has succeeded")
	}
}

func TestCallback(t *testing.T) {
	o := play(t, "callback")
	for n := range 8 {
		outcome := fmt.Sprint(n*n, ", <nil>")
		if n == 4 {
			outcome = "0, 4 is not for squaring"
		}
		o.inOrder(fmt.Sprintf("callback of %d: %s", n, outcome), fmt.Sprintf("second callback of %d", n), "the pool goes on: 144 <nil>")
		o.find(fmt.Sprintf(`callback of %d\b.*`, n)) // once, whatever it said
	}
	if n := strings.Count(o.stderr, "a callback panicked: a careless callback"); n != 1 {
		t.Errorf("the panic of a callback was logged %d times, want once; %s", n, o)
	}
}

// allTests is the text of this package's tests.
func allTests(t *testing.T) (text []byte) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	return text
}

// Every program is a chapter of docs/course.md, says what it shows, and has a test.
func TestEveryChapter(t *testing.T) {
	course, err := os.ReadFile("../docs/course.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := allTests(t)
	programs, err := filepath.Glob("*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatal("no programs:", err)
	}
	var chapters []string
	for _, path := range programs {
		chapter := filepath.Dir(path)
		chapters = append(chapters, chapter)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), fmt.Sprintf("// The chapter %q.", chapter)) || !bytes.Contains(text, []byte("\n// Python: ")) {
			t.Errorf("%s does not begin with the chapter's name and idea, and Python's word for it", path)
		}
		if !bytes.Contains(tests, []byte(fmt.Sprintf("play(t, %q", chapter))) {
			t.Errorf("%s has no test", path)
		}
		if link := fmt.Sprintf("(../examples/%s/main.go)", chapter); !bytes.Contains(course, []byte(link)) {
			t.Errorf("docs/course.md has no link to %s", path)
		}
	}
	built, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(built) != len(chapters) || slices.ContainsFunc(built, func(e os.DirEntry) bool { return !slices.Contains(chapters, e.Name()) }) {
		t.Errorf("built are %v, chapters are %v", built, chapters)
	}
}
