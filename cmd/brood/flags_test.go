package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every flag of brood run and brood sem is used in a script, or in a test on a terminal, and has a
// line in the help.
func TestEveryFlagIsTested(t *testing.T) {
	var all strings.Builder
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	for _, f := range append(files, "terminal_linux_test.go") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for name, define := range manPages {
		fl := new(cobra.Command)
		p := define(fl)
		p.flags.VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" || f.Hidden {
				return
			}
			use := `brood ` + name + `\b[^\n]*(?:--` + f.Name + `\b`
			if f.Shorthand != "" {
				use += `| -[A-Za-z0-9]*` + regexp.QuoteMeta(f.Shorthand)
			}
			if !regexp.MustCompile(use + `)`).MatchString(all.String()) {
				t.Errorf("brood %s --%s is used in no script", name, f.Name)
			}
			if f.Usage == "" || !strings.Contains(p.help(), "--"+f.Name) {
				t.Errorf("brood %s --%s has no line in the help", name, f.Name)
			}
		})
	}
}
