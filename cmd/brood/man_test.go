package main

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// flagsIn are the long flags that begin a line, or follow a short one there.
func flagsIn(text string, line *regexp.Regexp) []string {
	found := make(map[string]bool)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

var (
	helpFlag = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)
	manFlag  = regexp.MustCompile(`(?m)^(?:\.TP\n\\fB| +)(?:\\-\w, )?\\-\\-((?:[a-z0-9]|\\-)+)`)
)

// What a command's help says, its manual page says, and the other way round: both are what the
// command knows.
func TestManualFlags(t *testing.T) {
	for _, c := range documented(rootCommand()) {
		for _, s := range append(slices.Clone(c.Commands()), c) {
			var help bytes.Buffer
			if of := manPages[s.Name()]; of != nil {
				help.WriteString(of(new(cobra.Command)).help())
			} else {
				s.SetOut(&help)
				s.InitDefaultHelpFlag()
				if err := s.Help(); err != nil {
					t.Fatal(err)
				}
			}
			want := slices.DeleteFunc(flagsIn(help.String(), helpFlag), func(f string) bool { return f == "help" })
			got := flagsIn(manualOf(c).roff(), manFlag)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], `\-`, "-")
			}
			if len(c.Commands()) == 0 && !slices.Equal(got, want) {
				t.Errorf("%s: the page has %q, the help %q", c.Name(), got, want)
			}
			for _, f := range want {
				if !slices.Contains(got, f) {
					t.Errorf("%s: the page does not know --%s", s.CommandPath(), f)
				}
			}
		}
	}
}

// groff has nothing to say against any page.
func TestManualWarnings(t *testing.T) {
	dir := t.TempDir()
	if err := writeManuals(rootCommand(), dir); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) != len(documented(rootCommand()))+1 {
		t.Fatalf("%q, %v", pages, err)
	}
	for _, p := range pages {
		out, err := exec.Command("groff", "-man", "-ww", "-z", p).CombinedOutput()
		if e := (*exec.Error)(nil); err != nil && errors.As(err, &e) {
			t.Skip(err)
		}
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(p), err, out)
		}
	}
	bad := filepath.Join(dir, "bad.1")
	if err := os.WriteFile(bad, []byte(".TH A 1\n.NOTHING\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.Command("groff", "-man", "-ww", "-z", bad).CombinedOutput(); len(out) == 0 {
		t.Error("groff says nothing against an unknown request")
	}
}

// No text becomes a request or another character.
func TestRoff(t *testing.T) {
	for in, want := range map[string]string{
		".so /etc/passwd": `\&.so /etc/passwd`,
		"'x":              `\&\(aqx`,
		`\n`:              `\en`,
		"a-b ~^`\"":       `a\-b \(ti\(ha\(ga\(dq`,
		"é…":              `\[u00E9]\[u2026]`,
	} {
		if got := roffLine(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
