package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/brood-go/brood/batch"
)

// results is the directory of --results, laid out as GNU parallel does:
// DIR/1/VALUE/2/VALUE/{stdout,stderr,seq}, and a result.json beside them.
type results struct {
	dir  string
	seen map[uint64]int // hashes of the directories used so far

	names []string // of the columns, if they have any
}

func newResults(dir string, names []string) (*results, error) {
	switch filepath.Ext(dir) {
	case ".csv", ".tsv", ".json": // with GNU parallel that would be a file
		return nil, fmt.Errorf("--results %s: it is the name of a directory, and no table is written: use another name, or --json and --joblog for what a table has", dir)
	}
	if strings.Contains(dir, "{") {
		return nil, fmt.Errorf("--results %s: replacement strings are not known there: name a directory, in which each job has one of its own", dir)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("--results %s: %w: name a directory; it is made if there is none", dir, cause(err))
	}
	return &results{dir: dir, seen: make(map[uint64]int), names: names}, nil
}

// save writes one job's files.
func (s *results) save(r *batch.Result) error {
	dir := s.place(r)
	if err := s.write(dir, r); err != nil {
		return fmt.Errorf("--results: job %d: %w", r.Seq, err)
	}
	return nil
}

func (s *results) write(dir string, r *batch.Result) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		r    io.Reader
	}{
		{"stdout", r.Stdout()},
		{"stderr", r.Stderr()},
		{"seq", strings.NewReader(strconv.Itoa(r.Seq))},
	} {
		if err := copyToFile(filepath.Join(dir, f.name), f.r); err != nil {
			return err
		}
	}
	b, err := encode(describe(r), "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "result.json"), append(b, '\n'), 0o666)
}

// longestPath is how long the part of a path can be that is made of values: the rest of what a
// system takes, 4096 bytes or less, is for where the results are.
const longestPath = 1000

// place is the directory of a job: its values in turn, by their numbers or names. Values that make
// too long a path end in a hash of all. A second job with the same values gets a directory
// of its own.
func (s *results) place(r *batch.Result) string {
	parts := []string{s.dir}
	length := 0
	for i, v := range r.Values {
		name := strconv.Itoa(i + 1)
		if i < len(s.names) && s.names[i] != "" {
			name = component(s.names[i])
		}
		value := component(v)
		if length += len(name) + len(value) + 2; length > longestPath {
			h := fnv.New64a()
			fmt.Fprintf(h, "%q", r.Values)
			parts = append(parts, fmt.Sprintf(`\%x`, h.Sum64()))
			break
		}
		parts = append(parts, name, value)
	}
	if len(r.Values) == 0 {
		parts = append(parts, "1", component(r.Command))
	}
	dir := filepath.Join(parts...)
	h := fnv.New64a()
	io.WriteString(h, dir)
	s.seen[h.Sum64()]++
	if n := s.seen[h.Sum64()]; n > 1 {
		dir += `\+` + strconv.Itoa(n)
	}
	return dir
}

// component is a value as one name in a directory, as GNU parallel writes it:
// \_ for a slash, \0 for NUL, \t for a tab, \\ for a backslash. What is too
// long for a name ends in its hash.
func component(v string) string {
	c := strings.NewReplacer(`\`, `\\`, "/", `\_`, "\t", `\t`, "\x00", `\0`).Replace(v)
	switch {
	case c == "." || c == ".." || c == "":
		return `\` + c
	case len(c) > 200:
		h := fnv.New64a()
		io.WriteString(h, v)
		return fmt.Sprintf(`%s\%x`, strings.ToValidUTF8(c[:180], "_"), h.Sum64())
	}
	return c
}

func copyToFile(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
