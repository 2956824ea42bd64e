package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// command is one program of a comparison.
type command struct {
	name   string
	argv   []string // nil: it is not installed
	stdin  string   // a file; empty: none
	share  float64  // the part of the work that it does; its time is scaled up
	target float64  // for brood's time by this one's; 0: none
}

// sides makes sides of programs, brood's first.
func (b *bench) sides(cs ...command) (all []side) {
	for _, c := range cs {
		s := side{name: c.name, why: "not installed", target: c.target}
		if c.argv != nil {
			s.run = func() (float64, error) { return b.time(c) }
		}
		all = append(all, s)
	}
	return all
}

// commands prepares the programs and prints what concerns them.
func (b *bench) commands() error {
	if err := b.build(); err != nil {
		return err
	}
	cs, err := b.comparisons()
	if err != nil {
		return err
	}
	if err := b.table("The command: many commands", cs); err != nil {
		return err
	}
	if b.only.MatchString("own CPU") {
		return b.ownCPU()
	}
	return nil
}

// comparisons lists the commands that are compared.
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
	few, err := b.file("few", b.lines/200)
	if err != nil {
		return nil, err
	}
	log := filepath.Join(b.dir, "log")
	n := fmt.Sprint(b.jobs)
	list := strings.Fields(read(numbers))
	return append([]comparison{
		{n + " × true", 0, b.sides(
			command{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "true"}, numbers, 1, 0},
			command{"xargs -P2", []string{"xargs", "-P2", "-n1", "true"}, numbers, 1, 1},
			command{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "true"), numbers, 1, 0.25},
			command{"moreutils parallel", moreutils(append([]string{"-j2", "true", "--"}, list...)...), "", 1, 0},
			b.bare(n, "true", "1"),
		)},
		{n + " × sh -c", 0, b.sides(
			command{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "exit 0; : {}"}, numbers, 1, 0},
			command{"xargs -P2", []string{"xargs", "-P2", "-I{}", "sh", "-c", "exit 0; : {}"}, numbers, 1, 1},
			command{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "exit 0; : {}"), numbers, 1, 0.25},
			command{"moreutils parallel", moreutils(append([]string{"-j2", "sh", "-c", "exit 0; : $0", "--"}, list...)...), "", 1, 0},
			b.bare(n, "sh", "-c", "exit 0; : 1"),
		)},
		{"sha256sum of " + n + " files", 0, b.sides(
			command{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "sha256sum"}, files, 1, 0},
			command{"xargs -P2", []string{"xargs", "-P2", "-n1", "sha256sum"}, files, 1, 1},
			command{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "sha256sum"), files, 1, 0},
		)},
		{"gzip of " + n + " files", 0, b.sides(
			command{"brood", []string{b.brood, "run", "-j2", "--joblog", log, "gzip -c"}, files, 1, 0},
			command{"xargs -P2", []string{"xargs", "-P2", "-n1", "gzip", "-c"}, files, 1, 1},
			command{"GNU parallel", gnu("--joblog", log+".gnu", "-j2", "gzip -c"), files, 1, 0},
		)},
	}, b.overheads(many, few)...), nil
}

// overheads are comparisons of what is done around jobs.
func (b *bench) overheads(many, few string) []comparison {
	return []comparison{
		{"start-up (--version)", 0.010, b.sides(
			command{"brood", []string{b.brood, "--version"}, "", 1, 0},
		)},
		{"start-up (1 × true)", 0.010, b.sides(
			command{"brood", []string{b.brood, "run", "true", ":::", "x"}, "", 1, 0},
			command{"GNU parallel", gnu("true", ":::", "x"), "", 1, 0},
		)},
		{fmt.Sprintf("%d lines, --dry-run", b.lines), 0, b.sides(
			command{"brood", []string{b.brood, "run", "--dry-run", "echo", "{}"}, many, 1, 0},
			command{"GNU parallel (a two-hundredth of it, × 200)", gnu("--dry-run", "echo", "{}"), few, 0.005, 0},
		)},
	}
}
