// Command bench compares brood with its peers: the command with other programs that run
// many commands, the library with CPython's pools, locks, queues, generators and asyncio,
// hashicorp/go-plugin, the bare means of the system, pools of goroutines and channels. It prints
// tables of ratios: absolute times differ from machine to machine and from minute to minute, so
// brood and its peers run in turns, and what counts is the ratio within a round.
//
//	cd bench && go run . [-rounds 5] [-only REGEXP] [-quick] [-o FILE]
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/brood-go/brood"
)

// bench is one run of this program.
type bench struct {
	dir    string  // for temporary files
	brood  string  // the command under test
	spawn  command // the bare spawn loop
	jobs   int
	lines  int // of the --dry-run comparison
	rounds int
	share  int // what part of the usual work is done: 1/share
	only   *regexp.Regexp
	out    io.Writer
}

func main() {
	brood.Init() // a worker process of the library's goes no further
	if len(os.Args) == 2 && os.Args[1] == nothing {
		return
	}
	if len(os.Args) == 3 && os.Args[1] == asServer {
		if err := serveAs(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 3 && os.Args[1] == goLoop {
		if err := loopInGo(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == sleepers {
		if err := showSleepers(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	rounds := flag.Int("rounds", 7, "rounds of each comparison")
	only := flag.String("only", "", "comparisons whose name matches")
	quick := flag.Bool("quick", false, "a tenth of the work, two rounds: to try the program out")
	output := flag.String("o", "", "also write to this file, in place of what an earlier run wrote there")
	flag.Parse()
	var text bytes.Buffer
	b := &bench{jobs: 2000, lines: 1_000_000, rounds: *rounds, share: 1, only: regexp.MustCompile(*only), out: io.MultiWriter(os.Stdout, &text)}
	if *quick {
		b.jobs, b.lines, b.rounds, b.share = 200, 100_000, 2, 10
	}
	if err := b.run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if *output != "" {
		if err := update(*output, text.String(), *only != ""); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

// What this program writes into a document stands between these lines; the rest is
// written by people and left alone.
const (
	generated = "<!-- written by make bench: changes are lost -->\n"
	endOfIt   = "<!-- end of what make bench writes -->\n"
)

// update replaces the generated part of the document at path, or adds it. A run of some of the
// comparisons replaces their sections alone; each of them then says where it is from.
func update(path, text string, part bool) error {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		b, err = []byte("# Benchmarks\n\n"), nil
	}
	if err != nil {
		return err
	}
	before, rest, _ := strings.Cut(string(b), generated)
	old, after, _ := strings.Cut(rest, endOfIt)
	if part {
		text = merge(strings.TrimSpace(old), text)
	}
	return os.WriteFile(path, []byte(before+generated+"\n"+text+"\n"+endOfIt+after), 0o644)
}

const section = "\n## "

// merge puts the sections of text in place of those of old with the same titles, and new ones
// at its end.
func merge(old, text string) string {
	all := strings.Split("\n"+old, section)
	head, fresh, _ := strings.Cut("\n"+text, section)
	var from []string
	for line := range strings.Lines(head) {
		for _, what := range []string{"command: ", "commit: "} {
			if s, ok := strings.CutPrefix(line, "- "+what); ok {
				from = append(from, strings.TrimSpace(s))
			}
		}
	}
	for _, s := range strings.Split(fresh, section) {
		title, body, _ := strings.Cut(s, "\n")
		s = title + "\n\n*By " + strings.Join(from, ", commit ") + ".*\n" + strings.TrimRight(body, "\n") + "\n"
		i := slices.IndexFunc(all[1:], func(o string) bool { return strings.HasPrefix(o, title+"\n") })
		if i < 0 {
			all = append(all, s)
		} else {
			all[i+1] = s
		}
	}
	return strings.TrimLeft(strings.Join(all, section), "\n") + "\n"
}

// run prints all tables.
func (b *bench) run() error {
	var err error
	if b.dir, err = os.MkdirTemp("", "brood-bench-*"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	// What is measured is what people get, with a history; it is not theirs.
	if err := os.Setenv("BROOD_HISTORY", filepath.Join(b.dir, "history.db")); err != nil {
		return err
	}
	b.heading()
	if err := b.commands(); err != nil {
		return err
	}
	if err := b.scheduling(); err != nil {
		return err
	}
	return b.library()
}

// some is a usual number of tasks, less of them for a quick run.
func (b *bench) some(n int) int { return max(n/b.share, 1) }
