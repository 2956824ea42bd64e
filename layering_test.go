package brood_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/brood-go/brood"

// layer is a rule: what the packages at path may import of this module and
// from elsewhere, beside the standard library.
type layer struct {
	path   string   // "" is the root; a trailing /... includes what is below
	within []string // of this module
	others []string // other modules
	why    string
}

// covers reports whether the rule is that of the package at path.
func (l *layer) covers(path string) bool {
	above, below := strings.CutSuffix(l.path, "/...")
	return path == above || below && strings.HasPrefix(path, above+"/")
}

// layers is the allowed import graph. Imports point downward only; a package
// without a rule fails the test, so that a new one gets its place on purpose.
var layers = []layer{
	{"/cmd/brood", []string{"", "/batch", "/chart", "/internal/child", "/internal/history", "/internal/input", "/internal/journal", "/sched", "/share"}, []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term"},
		"the command is the only place for flags and terminals; what it does it asks of batch, and only brood sem of child, to go on without its caller"},
	{"/examples/...", []string{"", "/batch", "/chart", "/coro", "/gil", "/sched", "/share", "/tcp"}, nil,
		"a chapter of the course shows the front door: what it can't do with that, a reader could not do either"},
	{"/batch", []string{"/sched", "/internal/cgroup", "/internal/child", "/internal/journal", "/internal/median"}, []string{"golang.org/x/sys"},
		"an adapter: it knows the leaves below, and no command line"},
	{"", []string{"/internal/atexit", "/internal/child", "/internal/link", "/internal/strand", "/internal/waits", "/internal/wire", "/sched"}, []string{"golang.org/x/sync"},
		"the front door is imported by everybody: what it needs of the system it asks of the layers below"},
	{"/share", []string{"/internal/atexit", "/internal/cell", "/internal/race", "/internal/space", "/internal/strand", "/internal/waits", "/internal/wire"}, nil,
		"algorithms over cells: what they stand on is below, and who uses them above"},
	{"/tcp", []string{""}, nil,
		"an adapter: connections on the front door's threads and processes; what it can't do with that, a user could not do either"},
	{"/gil", []string{"/internal/cell", "/internal/strand", "/internal/waits"}, nil,
		"a lock by itself: an algorithm over cells for programs that need nothing else of this module"},
	{"/coro", []string{"/internal/strand"}, nil,
		"switching and saved state in one thread: a future is whatever has the methods of one, so that it knows no executor"},
	{"/sched", []string{"/internal/median"}, nil,
		"policies are pure: state, event and time in, decisions out"},
	{"/chart", []string{"/sched"}, nil,
		"drawing: a schedule in, text or a picture out; files and terminals are the command's"},
	{"/internal/child", []string{"/internal/cgroup"}, []string{"golang.org/x/sys"},
		"the only place that starts processes, and one of few with raw system calls"},
	{"/internal/link", []string{"/internal/ring", "/internal/segment", "/internal/shm", "/internal/wire"}, []string{"golang.org/x/sys"},
		"the way to a worker: it carries frames and descriptors, and knows no functions"},
	{"/internal/waits", []string{"/internal/strand"}, nil, "who waits for whom; what is waited for tells it itself"},
	{"/internal/strand", nil, nil, "an identity in a context"},
	{"/internal/atexit", nil, nil, "a list of functions"},
	{"/internal/median", nil, nil, "a number of a stream"},
	{"/internal/race", nil, nil, "a word to the race detector"},
	{"/internal/wire", nil, []string{"github.com/fxamacker/cbor/v2"}, "the shape of values and messages, and the only user of the codec"},
	{"/internal/segment", []string{"/internal/shm"}, nil,
		"who owns which memory; what it maps is shm's business"},
	{"/internal/ring", []string{"/internal/futex", "/internal/shm"}, nil,
		"frames between two processes: it knows words and bells, and nothing of what the frames say"},
	{"/internal/cell", nil, nil,
		"the ground of every shared algorithm: whatever it needed, an algorithm would need on every substrate"},
	{"/internal/explore", []string{"/internal/cell"}, nil,
		"the simulated machine: it knows the ground that algorithms stand on, and none of them"},
	{"/internal/space", []string{"/internal/cell", "/internal/futex", "/internal/shm"}, []string{"golang.org/x/sys"},
		"memory, liveness and sleep for algorithms on several processes: it knows words, and nothing of what they mean"},
	{"/internal/shm", nil, []string{"golang.org/x/sys"}, "one of few places with raw system calls, and the lowest"},
	{"/internal/futex", nil, nil, "one of few places with raw system calls, and the lowest"},
	{"/internal/cgroup", nil, nil, "reads files of the kernel's"},
	{"/internal/input", nil, nil, "reads what a command line names"},
	{"/internal/journal", nil, nil, "writes and reads two files"},
	{"/internal/history", []string{"/internal/journal"}, []string{"go.etcd.io/bbolt"},
		"advice in a file, and the only user of the database: it knows no batches, and nobody waits for it"},
}

// testImports are what tests may add.
var testImports = map[string][]string{
	"":           {"/share"}, // handles in arguments
	"/batch":     {""},       // brood.Init
	"/cmd/brood": {""},
	"/coro":      {"", "/share"}, // the front door's futures and strands, and locks that a task may forget

	"/gil":            {"", "/internal/explore", "/share"}, // the algorithm on a simulated machine; circles with tasks and locks
	"/share":          {"/internal/explore"},               // the shipped algorithms on a simulated machine
	"/internal/futex": {"/internal/shm"},                   // memory to sleep on
}

// testModules are modules that only tests use.
var testModules = []string{"github.com/rogpeppe/go-internal", "github.com/creack/pty", "pgregory.net/rapid", "golang.org/x/sys"}

// pure names what a pure package must not import: goroutines' tools, the
// clock's and the system's.
var pure = map[string][]string{
	"/sched": {"os", "os/exec", "net", "syscall", "sync", "sync/atomic", "context", "io", "runtime"},
}

// listed is what go list says of a package.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// packages lists the module's packages for a platform.
func packages(t *testing.T, goos string) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v", goos, err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestLayering(t *testing.T) {
	seen := make(map[string]bool)
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, p := range packages(t, goos) {
			path := strings.TrimPrefix(p.ImportPath, module)
			i := slices.IndexFunc(layers, func(l layer) bool { return l.covers(path) })
			if i < 0 {
				t.Errorf("%s has no rule: add one to layers, with what it may import and why", p.ImportPath)
				continue
			}
			seen[layers[i].path] = true
			checkImports(t, layers[i], p.Imports, nil, nil)
			checkImports(t, layers[i], slices.Concat(p.TestImports, p.XTestImports), append(testImports[path], path), testModules)
		}
	}
	for _, l := range layers {
		if !seen[l.path] {
			t.Errorf("%s%s has a rule but is no package: a rule for nothing would let anything in under its name", module, l.path)
		}
	}
}

// checkImports compares imports with a rule.
func checkImports(t *testing.T, l layer, imports, within, others []string) {
	t.Helper()
	for _, imp := range imports {
		if inner, ok := strings.CutPrefix(imp, module); ok {
			if !slices.Contains(l.within, inner) && !slices.Contains(within, inner) {
				t.Errorf("%s%s imports %s: %s", module, l.path, imp, l.why)
			}
			continue
		}
		if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
			if slices.Contains(pure[l.path], imp) {
				t.Errorf("%s%s imports %s: %s", module, l.path, imp, l.why)
			}
			continue
		}
		if !slices.ContainsFunc(slices.Concat(l.others, others), func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }) {
			t.Errorf("%s%s imports %s: a dependency is named in layers and, with its reason, in docs/ARCHITECTURE.md", module, l.path, imp)
		}
	}
}
