package brood_test

import (
	"encoding/json"
	"errors"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pythonRow is a row of a table in docs/python.md.
type pythonRow struct {
	module  string   // the heading above it
	python  []string // the names in the first column, with the module
	brood   []string // those in the second
	remark  string   // the third column
	inWords string   // the row as it stands there
}

// pythonRows reads the tables.
func pythonRows(t *testing.T) (rows []pythonRow) {
	t.Helper()
	text, err := os.ReadFile("docs/python.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^## `([a-z_.]+)`\n$")
	code := regexp.MustCompile("`([^`]+)`")
	module := ""
	for line := range strings.Lines(string(text)) {
		if m := heading.FindStringSubmatch(line); m != nil {
			module = m[1]
		}
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") || cells[0] == "Python" {
			continue
		}
		if len(cells) != 3 {
			t.Fatalf("not three columns: %s", line)
		}
		r := pythonRow{module: module, remark: cells[2], inWords: line}
		for _, m := range code.FindAllStringSubmatch(cells[0], -1) {
			name, _, _ := strings.Cut(m[1], "(")
			r.python = append(r.python, module+"."+name)
		}
		for _, m := range code.FindAllStringSubmatch(cells[1], -1) {
			r.brood = append(r.brood, m[1])
		}
		rows = append(rows, r)
	}
	return rows
}

// Every public name of Python's modules has a row of its own, and no row is about a name that
// Python does not have.
func TestPythonNames(t *testing.T) {
	text, err := os.ReadFile("testdata/python_names.txt")
	if err != nil {
		t.Fatal(err)
	}
	missing := make(map[string]bool)
	for _, name := range strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(string(text), "")) {
		missing[name] = true
	}
	if len(missing) < 400 {
		t.Fatalf("only %d names in the list", len(missing))
	}
	for _, r := range pythonRows(t) {
		for _, name := range r.python {
			switch uncovered, known := missing[name]; {
			case !known:
				t.Errorf("docs/python.md has a row for %s, which testdata/python_names.txt does not list: %s", name, r.inWords)
			case !uncovered:
				t.Errorf("docs/python.md has two rows for %s: %s", name, r.inWords)
			}
			missing[name] = false
		}
	}
	for name, uncovered := range missing {
		if uncovered {
			t.Errorf("docs/python.md has no row for %s", name)
		}
	}
}

// A row names what is there, or says why nothing is.
func TestPythonTable(t *testing.T) {
	find := finder(t)
	for _, r := range pythonRows(t) {
		for _, name := range r.brood {
			if err := find(name); err != nil {
				t.Errorf("docs/python.md: %s: %v: %s", name, err, r.inWords)
			}
		}
		not := strings.HasPrefix(r.remark, "Not: ") || strings.HasPrefix(r.remark, "Not yet: ")
		if not == (len(r.brood) > 0) || r.remark == "" || len(r.python) == 0 {
			t.Errorf("docs/python.md: a row has a name of ours and what is different, or else begins its third column with «Not: » or «Not yet: »: %s", r.inWords)
		}
	}
}

// finder returns a function that finds a Go name: a package's name and an identifier, and
// perhaps a field or method of that.
func finder(t *testing.T) func(name string) error {
	t.Helper()
	std := []string{"bufio", "context", "iter", "log/slog", "net", "runtime", "sync", "time"}
	own := []string{".", "./batch", "./gil", "./sched", "./share", "./tcp"}
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Name,Export"}, append(own, std...)...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports, paths := make(map[string]string), make(map[string]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Name, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		inner, ours := strings.CutPrefix(p.ImportPath, module)
		if slices.Contains(std, p.ImportPath) || ours && slices.Contains(own, "."+inner) {
			paths[p.Name] = p.ImportPath
		}
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return func(name string) error {
		parts := strings.Split(name, ".")
		path, known := paths[parts[0]]
		if !known || len(parts) < 2 || len(parts) > 3 {
			return errors.New("not the name of something in a package that this test knows")
		}
		pkg, err := imports.Import(path)
		if err != nil {
			return err
		}
		obj := pkg.Scope().Lookup(parts[1])
		if obj == nil || !obj.Exported() {
			return errors.New("there is no such name")
		}
		if len(parts) == 3 {
			typ, ok := obj.(*types.TypeName)
			if !ok {
				return errors.New("it is of no type")
			}
			if member, _, _ := types.LookupFieldOrMethod(typ.Type(), true, pkg, parts[2]); member == nil || !member.Exported() {
				return errors.New("the type has no such member")
			}
		}
		return nil
	}
}
