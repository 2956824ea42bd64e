// Command bench compares brood with other programs that run many commands. It
// prints a table of ratios: absolute times differ from machine to machine and
// from minute to minute, so brood and its peers run in turns, and what counts
// is the ratio within a round.
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
)

// bench is one run of this program.
type bench struct {
	dir    string // for temporary files
	brood  string // the command under test
	spawn  side   // the bare spawn loop
	jobs   int
	lines  int // of the --dry-run comparison
	rounds int
	out    io.Writer
}

func main() {
	if len(os.Args) > 3 && os.Args[1] == goLoop {
		if err := loopInGo(os.Args[2], os.Args[3:]); err != nil {
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
	b := &bench{jobs: 2000, lines: 1_000_000, rounds: *rounds, out: io.MultiWriter(os.Stdout, &text)}
	if *quick {
		b.jobs, b.lines, b.rounds = 200, 100_000, 2
	}
	if err := b.run(regexp.MustCompile(*only)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if *output != "" {
		if err := update(*output, text.String()); err != nil {
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

// update replaces the generated part of the document at path, or adds it.
func update(path, text string) error {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		b, err = []byte("# Benchmarks\n\n"), nil
	}
	if err != nil {
		return err
	}
	before, rest, _ := strings.Cut(string(b), generated)
	_, after, _ := strings.Cut(rest, endOfIt)
	return os.WriteFile(path, []byte(before+generated+"\n"+text+"\n"+endOfIt+after), 0o644)
}

// run prepares the programs, and prints a table of all comparisons.
func (b *bench) run(only *regexp.Regexp) error {
	var err error
	if b.dir, err = os.MkdirTemp("", "brood-bench-*"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(); err != nil {
		return err
	}
	b.heading()
	fmt.Fprintf(b.out, "| what | brood | peer | its time | brood/peer (range) | target | met |\n|---|---|---|---|---|---|---|\n")
	cs, err := b.comparisons()
	if err != nil {
		return err
	}
	for _, c := range cs {
		if only.MatchString(c.name) {
			if err := b.compare(c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	fmt.Fprintln(b.out)
	if only.MatchString("own CPU") {
		return b.ownCPU()
	}
	return nil
}

// side is one program of a comparison.
type side struct {
	name   string
	argv   []string
	stdin  string  // a file; empty: none
	share  float64 // the part of the work that it does; its time is scaled up
	target float64 // for brood's time by this one's; 0: none
}

// comparison is a job done by several programs, brood first.
type comparison struct {
	name  string
	limit float64 // for brood's own time, in seconds; 0: none
	sides []side
}

// compare runs the sides in turns and prints a row for each peer.
func (b *bench) compare(c comparison) error {
	times := make([][]float64, len(c.sides))
	for round := range b.rounds + 1 {
		for i, s := range c.sides {
			if s.argv == nil {
				continue
			}
			t, err := b.time(s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if round > 0 { // the first one warms the caches
				times[i] = append(times[i], t)
			}
		}
	}
	for i, s := range c.sides[1:] {
		if s.argv == nil {
			fmt.Fprintf(b.out, "| %s | %s | %s | not installed | | | |\n", c.name, seconds(median(times[0])), s.name)
			continue
		}
		ratios := make([]float64, b.rounds)
		for r := range ratios {
			ratios[r] = times[0][r] / times[i+1][r]
		}
		target, met := "", ""
		if s.target > 0 {
			target, met = fmt.Sprintf("≤ %.2f", s.target), "no"
			if median(ratios) <= s.target {
				met = "yes"
			}
		}
		fmt.Fprintf(b.out, "| %s | %s | %s | %s | %s (%s–%s) | %s | %s |\n", c.name, seconds(median(times[0])),
			s.name, seconds(median(times[i+1])), ratio(median(ratios)), ratio(slices.Min(ratios)), ratio(slices.Max(ratios)), target, met)
	}
	if c.limit > 0 {
		met := "no"
		if median(times[0]) <= c.limit {
			met = "yes"
		}
		fmt.Fprintf(b.out, "| %s | %s (%s–%s) | | | | ≤ %s | %s |\n", c.name, seconds(median(times[0])),
			seconds(slices.Min(times[0])), seconds(slices.Max(times[0])), seconds(c.limit), met)
	}
	return nil
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// seconds writes a time with three digits that count.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.3g ms", s*1000)
	}
	return fmt.Sprintf("%.3g s", s)
}

// ratio writes a ratio so that none becomes nought.
func ratio(r float64) string {
	if r > 0 && r < 0.01 {
		return fmt.Sprintf("1/%.0f", 1/r)
	}
	return fmt.Sprintf("%.2f", r)
}

// comparisons lists what is compared.
func (b *bench) comparisons() ([]comparison, error) {
	numbers, err := b.file("numbers", b.jobs)
	if err != nil {
		return nil, err
	}
	files, err := b.sources()
	if err != nil {
		return nil, err
	}
	many, err := b.file("many", b.lines)
	if err != nil {
		return nil, err
	}
	few, err := b.file("few", b.lines/50)
	if err != nil {
		return nil, err
	}
	log := filepath.Join(b.dir, "log")
	n := fmt.Sprint(b.jobs)
	list := strings.Fields(read(numbers))
	return append([]comparison{
		{n + " × true", 0, []side{
			{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "true"}, numbers, 1, 0},
			{"xargs -P2", []string{"xargs", "-P2", "-n1", "true"}, numbers, 1, 1},
			{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "true"), numbers, 1, 0.25},
			{"moreutils parallel", moreutils(append([]string{"-j2", "true", "--"}, list...)...), "", 1, 0},
			b.bare(n, "true", "1"),
		}},
		{n + " × sh -c", 0, []side{
			{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "exit 0; : {}"}, numbers, 1, 0},
			{"xargs -P2", []string{"xargs", "-P2", "-I{}", "sh", "-c", "exit 0; : {}"}, numbers, 1, 1},
			{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "exit 0; : {}"), numbers, 1, 0.25},
			{"moreutils parallel", moreutils(append([]string{"-j2", "sh", "-c", "exit 0; : $0", "--"}, list...)...), "", 1, 0},
			b.bare(n, "sh", "-c", "exit 0; : 1"),
		}},
		{"sha256sum of " + n + " files", 0, []side{
			{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "sha256sum"}, files, 1, 0},
			{"xargs -P2", []string{"xargs", "-P2", "-n1", "sha256sum"}, files, 1, 1},
			{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "sha256sum"), files, 1, 0},
		}},
		{"gzip of " + n + " files", 0, []side{
			{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "gzip -c"}, files, 1, 0},
			{"xargs -P2", []string{"xargs", "-P2", "-n1", "gzip", "-c"}, files, 1, 1},
			{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "gzip -c"), files, 1, 0},
		}},
	}, b.overheads(many, few)...), nil
}

// overheads are comparisons of what is done around jobs.
func (b *bench) overheads(many, few string) []comparison {
	return []comparison{
		{"start-up (--version)", 0.010, []side{
			{"brood", []string{b.brood, "--version"}, "", 1, 0},
		}},
		{"start-up (1 × true)", 0.010, []side{
			{"brood", []string{b.brood, "run", "true", ":::", "x"}, "", 1, 0},
			{"GNU parallel", gnu("true", ":::", "x"), "", 1, 0},
		}},
		{fmt.Sprintf("%d lines, --dry-run", b.lines), 0, []side{
			{"brood", []string{b.brood, "run", "--dry-run", "echo", "{}"}, many, 1, 0},
			{"GNU parallel (a fiftieth of it, × 50)", gnu("--dry-run", "echo", "{}"), few, 0.02, 0},
		}},
	}
}
