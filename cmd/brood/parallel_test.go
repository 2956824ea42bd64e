package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// parallelRow is a row of a table in docs/parallel.md.
type parallelRow struct {
	section string   // the heading above it
	gnu     []string // the options and strings in the first column
	ours    []string // those in the second
	remark  string   // the third column
	inWords string   // the row as it stands there
}

// options reports whether the row is about options.
func (r *parallelRow) options() bool { return strings.HasPrefix(r.section, "### ") }

// nothing reports whether brood has nothing of it.
func (r *parallelRow) nothing() bool {
	return strings.HasPrefix(r.remark, "No: ") || strings.HasPrefix(r.remark, "Not yet: ")
}

// parallelText is docs/parallel.md.
func parallelText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/parallel.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parallelRows reads the tables.
func parallelRows(t *testing.T) (rows []parallelRow) {
	t.Helper()
	code := regexp.MustCompile("`([^`]+)`")
	names := func(cell string) (found []string) {
		for _, m := range code.FindAllStringSubmatch(cell, -1) {
			found = append(found, m[1])
		}
		return found
	}
	section := ""
	for line := range strings.Lines(parallelText(t)) {
		if strings.HasPrefix(line, "#") {
			section = strings.TrimSpace(line)
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") || strings.HasPrefix(line, "| GNU parallel |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 3 {
			t.Fatalf("not three columns: %s", line)
		}
		rows = append(rows, parallelRow{section, names(cells[0]), names(cells[1]), cells[2], line})
	}
	return rows
}

// unhyphened is an option's name without hyphens, as GNU parallel takes it as well.
func unhyphened(option string) string { return strings.ReplaceAll(option, "-", "") }

// gnuOptions is the stored list: all names of each option.
func gnuOptions(t *testing.T) (options [][]string) {
	t.Helper()
	text, err := os.ReadFile("testdata/gnu_options.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			options = append(options, strings.Fields(line))
		}
	}
	if len(options) < 160 {
		t.Fatalf("only %d options in the list", len(options))
	}
	return options
}

// Every option of GNU parallel has one row with all its names, and no row is about one that GNU
// parallel does not have.
func TestParallelOptions(t *testing.T) {
	option := make(map[string]int) // by name without hyphens
	options := gnuOptions(t)
	for i, names := range options {
		for _, n := range names {
			option[unhyphened(n)] = i
		}
	}
	rowOf := make(map[string]string)
	for _, r := range parallelRows(t) {
		if !r.options() {
			continue
		}
		about := -1
		for _, n := range r.gnu {
			i, known := option[unhyphened(n)]
			switch {
			case !known:
				t.Errorf("docs/parallel.md has a row for %s, which testdata/gnu_options.txt does not list: %s", n, r.inWords)
			case about >= 0 && about != i:
				t.Errorf("docs/parallel.md has a row for two options: %s", r.inWords)
			case rowOf[unhyphened(n)] != "":
				t.Errorf("docs/parallel.md has two rows for %s: %s", n, r.inWords)
			}
			about, rowOf[unhyphened(n)] = i, r.inWords
		}
	}
	for _, names := range options {
		for _, n := range names {
			if rowOf[unhyphened(n)] == "" {
				t.Errorf("docs/parallel.md has no row with %s, of %q", n, names)
			}
		}
	}
}

// The list is that of the GNU parallel that is installed.
func TestParallelInstalled(t *testing.T) {
	stored, err := os.ReadFile("testdata/gnu/VERSION")
	if err != nil {
		t.Fatal(err)
	}
	if v := gnuVersion(t); v != string(stored) {
		t.Logf("the list is of %q, installed is %q", stored, v)
		return
	}
	path, err := exec.LookPath("parallel")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, names := range gnuOptions(t) {
		want = append(want, strings.Join(names, " "))
	}
	got := append(getoptTable(string(text)), "shebang-wrap")
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("GNU parallel's options are\n%q\nthe list has\n%q", got, want)
	}
}

// getoptTable is the table of options in GNU parallel's program: texts in Perl, of which the first
// is names with | in between, and then what follows them.
func getoptTable(program string) (options []string) {
	_, table, _ := strings.Cut(program, "sub options_completion_hash()")
	table, _, _ = strings.Cut(table, "\n}\n")
	table = regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(table, "")
	text := ""
	for _, token := range regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|=>`).FindAllString(table, -1) {
		if token != "=>" {
			text += token[1 : len(token)-1]
			continue
		}
		names, _, _ := strings.Cut(text, "[")
		names, _, _ = strings.Cut(names, "=")
		names, _, _ = strings.Cut(names, ":")
		options = append(options, strings.ReplaceAll(names, "|", " "))
		text = ""
	}
	return options
}

// spellings are all names of the options in a row, as the stored list has them.
func spellings(t *testing.T, r *parallelRow) (all []string) {
	t.Helper()
	for _, names := range gnuOptions(t) {
		if !slices.ContainsFunc(names, func(n string) bool { return unhyphened(n) == unhyphened(r.gnu[0]) }) {
			continue
		}
		for _, n := range names {
			if len(n) > 1 {
				n = "-" + n
			}
			all = append(all, "-"+n)
		}
	}
	return all
}

// findFlag finds a flag by its long or short name, as somebody would write it. It may be a hidden one.
func findFlag(cmd *cobra.Command, name string) *pflag.Flag {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if long, ok := strings.CutPrefix(name, "--"); ok {
		return cmd.Flags().Lookup(long)
	}
	if short := strings.TrimPrefix(name, "-"); len(short) == 1 {
		return cmd.Flags().ShorthandLookup(short)
	}
	return nil
}

// A row names what is there, or says why nothing is; what is there is known by GNU parallel's names,
// and what is not says what to use instead.
func TestParallelTable(t *testing.T) {
	root := rootCommand()
	run, _, err := root.Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range parallelRows(t) {
		if len(r.gnu) == 0 && !strings.HasPrefix(r.section, "## Exit") || r.remark == "" || r.nothing() == (len(r.ours) > 0) && !strings.HasPrefix(r.section, "## Exit") {
			t.Errorf("docs/parallel.md: a row has something of ours and what is different, or else begins its third column with «No: » or «Not yet: »: %s", r.inWords)
		}
		if !r.options() {
			continue
		}
		var flags []*pflag.Flag // of ours, those of brood run
		for _, name := range r.ours {
			words := strings.Fields(name)
			cmd := run
			if words[0] == "brood" {
				if cmd, words, err = root.Find(words[1:]); err != nil {
					t.Errorf("docs/parallel.md: %s: %v: %s", name, err, r.inWords)
					continue
				}
			}
			for _, w := range words {
				f := findFlag(cmd, w)
				if f == nil || f.Hidden {
					t.Errorf("docs/parallel.md: %s: there is no such flag: %s", name, r.inWords)
				}
				if words[0] == name {
					flags = append(flags, f)
				}
			}
		}
		for _, name := range spellings(t, &r) {
			f := findFlag(run, name)
			switch {
			case len(flags) > 0 && !slices.Contains(flags, f) && !spelledOtherwise(r.remark, name):
				t.Errorf("docs/parallel.md: brood run does not know %s, or as something else: %s", name, r.inWords)
			case r.nothing() && f != nil && !f.Hidden:
				t.Errorf("docs/parallel.md: brood run has %s: %s", name, r.inWords)
			case r.nothing() && f != nil && (f.Value.Set("true") == nil) != strings.Contains(r.remark, "is taken"):
				t.Errorf("docs/parallel.md: a row says of a flag that does nothing that it is taken: %s", r.inWords)
			}
		}
	}
}

// spelledOtherwise reports whether a remark says of a short name that another one has to be used.
func spelledOtherwise(remark, name string) bool {
	return strings.Contains(remark, "for `"+name+"`") || strings.Contains(remark, "Not `"+name+"`")
}

// Options of which nothing is there are known, but those that nobody writes: retired ones, and those
// for GNU parallel itself.
func TestParallelRefused(t *testing.T) {
	root := rootCommand()
	run, _, err := root.Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	rare := regexp.MustCompile(`it is retired|undocumented|for GNU parallel itself|for the function|report one|draw what happened`)
	for _, r := range parallelRows(t) {
		if !r.options() || !r.nothing() || rare.MatchString(r.remark) {
			continue
		}
		for _, name := range spellings(t, &r) {
			f := findFlag(run, name)
			if f == nil {
				t.Errorf("brood run does not know %s, and can't say what to use instead: %s", name, r.inWords)
				continue
			}
			if err := f.Value.Set("true"); err != nil && !errors.As(err, new(refusal)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// All of brood run's flags and all commands occur in the document.
func TestParallelOurs(t *testing.T) {
	text := parallelText(t)
	root := rootCommand()
	run, _, err := root.Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	run.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && !strings.Contains(text, "`--"+f.Name+"`") && !strings.Contains(text, "`--"+f.Name+" ") {
			t.Errorf("docs/parallel.md does not name --%s of brood run", f.Name)
		}
	})
	for _, c := range documented(root) {
		if !strings.Contains(text, "`brood "+c.Name()+"`") && !strings.Contains(text, "`brood "+c.Name()+" ") {
			t.Errorf("docs/parallel.md does not name brood %s", c.Name())
		}
	}
}
