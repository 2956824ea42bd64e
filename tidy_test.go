package brood_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The bounds of a file and of a function, in lines.
const (
	maxFile         = 800 // 400 is the aim
	maxFunction     = 70
	maxTestFunction = 120 // tables are long
)

// source is a parsed file of the module.
type source struct {
	path string
	text []byte
	file *ast.File
	fset *token.FileSet
}

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// dir is the file's package as a path, with slashes, "." for the root.
func (s *source) dir() string { return filepath.ToSlash(filepath.Dir(s.path)) }

// imported is the last element of the path that the file imports as name, so that
// no rule is passed by another name for a package.
func (s *source) imported(name string) string {
	for _, imp := range s.file.Imports {
		if imp.Name != nil && imp.Name.Name == name {
			return path.Base(strings.Trim(imp.Path.Value, `"`))
		}
	}
	return name
}

// sources parses the Go files of this module; bench and tools are modules of their own.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == "bench" || path == "tools" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		all = append(all, source{path, text, file, fset})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Nobody reads a file or a function that is too long.
func TestLengths(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxFile {
			t.Errorf("%s has %d lines, at most %d are allowed: split it by nouns", s.path, n, maxFile)
		}
		limit := maxFunction
		if s.isTest() {
			limit = maxTestFunction
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line; n > limit {
				t.Errorf("%s: %s has %d lines, at most %d are allowed", s.fset.Position(f.Pos()), f.Name.Name, n, limit)
			}
		}
	}
}

// What is dangerous is kept in few places, where it is looked for.
func TestDangerousCalls(t *testing.T) {
	mayCall := map[string][]string{
		"unsafe":           nil, // only files named *_unsafe.go
		"os/exec":          {"internal/child"},
		"os.StartProcess":  {"examples/zombies"}, // to show what becomes of a child that nobody reaps
		"syscall.ForkExec": {"internal/child"},
	}
	for _, name := range []string{"Syscall", "Syscall6", "SyscallN", "SyscallNoError", "RawSyscall", "RawSyscall6", "RawSyscallNoError", "AllThreadsSyscall", "AllThreadsSyscall6"} {
		for _, pkg := range []string{"syscall.", "unix."} {
			mayCall[pkg+name] = []string{"internal/child", "internal/futex", "internal/shm"}
		}
	}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, imp := range s.file.Imports {
			what := strings.Trim(imp.Path.Value, `"`)
			dirs, watched := mayCall[what]
			if watched && !slices.Contains(dirs, s.dir()) && !(what == "unsafe" && strings.HasSuffix(s.path, "_unsafe.go")) {
				where := "only files named *_unsafe.go"
				if what != "unsafe" {
					where = "only " + strings.Join(dirs, ", ")
				}
				t.Errorf("%s imports %s: %s may, so that it is looked for in few places", s.path, what, where)
			}
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:"+"linkname") {
					t.Errorf("%s: a linkname calls what its package does not offer", s.fset.Position(c.Pos()))
				}
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok {
				name := s.imported(x.Name) + "." + sel.Sel.Name
				if dirs, watched := mayCall[name]; watched && !slices.Contains(dirs, s.dir()) {
					t.Errorf("%s calls %s: only %v may", s.fset.Position(n.Pos()), name, dirs)
				}
			}
			return true
		})
	}
}

// Importing a package starts nothing, and policies have neither clock nor goroutines.
func TestNoSideEffects(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" && s.dir() != "cmd/brood" {
					t.Errorf("%s: an init function: importing a package must start nothing", s.fset.Position(n.Pos()))
				}
			case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt:
				if s.dir() == "sched" {
					t.Errorf("%s: policies are pure: no goroutines and channels", s.fset.Position(n.Pos()))
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && s.dir() == "sched" && s.imported(x.Name) == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker"}, n.Sel.Name) {
					t.Errorf("%s: policies are pure: time is an argument", s.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

// Tests wait for events, and run.
func TestTests(t *testing.T) {
	sleep := "time." + "Sleep("
	skip := regexp.MustCompile(`t\.Skip(Now)?\(\)`)
	for _, s := range sources(t) {
		if !s.isTest() {
			continue
		}
		if bytes.Contains(s.text, []byte(sleep)) {
			t.Errorf("%s sleeps: wait for what the test is about", s.path)
		}
		if skip.Match(s.text) {
			t.Errorf("%s skips without a reason that the platform gives", s.path)
		}
	}
}

// Every exported name says what it is.
func TestDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
					t.Errorf("%s: %s is not documented", s.fset.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					checkSpec(t, &s, d, spec)
				}
			}
		}
	}
}

// exportedReceiver reports whether a function is one, or a method of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return !ok || id.IsExported()
}

// checkSpec looks at a type, constant or variable. One comment may stand for a group.
func checkSpec(t *testing.T, s *source, d *ast.GenDecl, spec ast.Spec) {
	t.Helper()
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
			t.Errorf("%s: type %s is not documented", s.fset.Position(spec.Pos()), spec.Name.Name)
		}
		if st, ok := spec.Type.(*ast.StructType); ok && strings.HasSuffix(spec.Name.Name, "Options") && spec.Name.IsExported() && !strings.HasPrefix(s.dir(), "internal/") {
			checkOptions(t, s, spec.Name.Name, st)
		}
	case *ast.ValueSpec:
		if spec.Names[0].IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
			t.Errorf("%s: %s is not documented", s.fset.Position(spec.Pos()), spec.Names[0].Name)
		}
	}
}

// checkOptions looks at the fields of options: a field without a comment has no
// default that anybody could know.
func checkOptions(t *testing.T, s *source, name string, st *ast.StructType) {
	t.Helper()
	for _, f := range st.Fields.List {
		for _, id := range f.Names {
			if id.IsExported() && f.Doc == nil && f.Comment == nil {
				t.Errorf("%s: option %s.%s is not documented: say what it does and what its zero value means", s.fset.Position(f.Pos()), name, id.Name)
			}
		}
	}
}

// A package is named after what it provides.
func TestPackageNames(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains([]string{"util", "utils", "common", "types", "core", "pkg", "helpers", "misc", "shared"}, s.file.Name.Name) {
			t.Errorf("%s: package %s says nothing about what is in it", s.path, s.file.Name.Name)
		}
	}
}

// Links between documents lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docs, _ := filepath.Glob("*.md")
	more, _ := filepath.Glob("docs/*.md")
	for _, doc := range append(docs, more...) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			target := string(m[1])
			if strings.Contains(target, "://") {
				continue
			}
			path, anchor, _ := strings.Cut(target, "#")
			if path == "" {
				path = filepath.Base(doc)
			}
			path = filepath.Join(filepath.Dir(doc), path)
			b, err := os.ReadFile(path)
			if fi, serr := os.Stat(path); serr == nil && fi.IsDir() {
				continue
			}
			if err != nil || anchor != "" && !slices.Contains(anchors(b), anchor) {
				t.Errorf("%s links to %s, which is not there", doc, target)
			}
		}
	}
}

// anchors are those that GitHub makes of headings.
func anchors(text []byte) (all []string) {
	for line := range strings.Lines(string(text)) {
		if head := strings.TrimLeft(line, "#"); head != line {
			head = strings.ToLower(strings.TrimSpace(head))
			head = regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(head, "")
			all = append(all, strings.ReplaceAll(head, " ", "-"))
		}
	}
	return all
}

// The Makefile stays small enough to know by heart.
func TestMakefile(t *testing.T) {
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`(?m)^([A-Za-z0-9_/-]+):(.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(targets) == 0 || len(targets) > 12 {
		t.Errorf("the Makefile has %d targets, at most 12 are allowed", len(targets))
	}
	for _, m := range targets {
		if !strings.Contains(m[2], "## ") {
			t.Errorf("target %s is not documented: add ## and what it does", m[1])
		}
	}
}
