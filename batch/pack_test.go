package batch

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rowsOf yields rows of one value each, or of several with commas in between.
func rowsOf(values ...string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for _, v := range values {
			if !yield(strings.Split(v, ","), nil) {
				return
			}
		}
	}
}

func numbers(n int) (values []string) {
	for i := range n {
		values = append(values, strconv.Itoa(i+1))
	}
	return values
}

// commandsOf are the texts of the jobs.
func commandsOf(t *testing.T, jobs iter.Seq2[Job, error]) (texts []string, err error) {
	t.Helper()
	for j, err := range jobs {
		if err != nil {
			return texts, err
		}
		cmd, err := j.Template.Expand(j.Values, Numbers{Seq: len(texts) + 1, Slot: 1, Total: j.Total})
		if err != nil {
			return texts, err
		}
		texts = append(texts, cmd.Text)
	}
	return texts, nil
}

// What GNU parallel 20221122 makes of the same.
func TestPack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		packing Packing
		text    string
		values  []string
		o       PackOptions
		want    string
	}{
		{"X spreads", Repeated, "echo x{}y", numbers(5), PackOptions{Spread: 2}, "echo x1y x2y x3y|echo x4y x5y"},
		{"m spreads", Joined, "echo x{}y", numbers(5), PackOptions{Spread: 2}, "echo x1 2 3y|echo x4 5y"},
		{"xargs does not", Joined, "echo", numbers(5), PackOptions{}, "echo 1 2 3 4 5"},
		{"X over many slots", Repeated, "echo {}", numbers(10), PackOptions{Spread: 4}, "echo 1 2 3|echo 4 5 6|echo 7 8 9|echo 10"},
		{"fewer than slots", Repeated, "echo {}", numbers(3), PackOptions{Spread: 4}, "echo 1|echo 2|echo 3"},
		{"at most two", Joined, "echo x{}y", numbers(5), PackOptions{Rows: 2, Spread: 2}, "echo x1 2y|echo x3 4y|echo x5y"},
		{"two by two", Repeated, "echo {1}+{2}", numbers(5), PackOptions{Rows: 2}, "echo 1+2|echo 3+4|echo 5+''"},
		{"columns", Repeated, "echo {1} {2} {3} {4}", []string{"a,b", "c,d", "e,f"}, PackOptions{Rows: 2}, "echo a b c d|echo e f  "},
		{"none", Repeated, "echo {}-{1}-{#}", numbers(2), PackOptions{None: true}, "echo -''-1|echo -''-2"},
		{"numbers of jobs", Repeated, "echo j{#}-{}", numbers(4), PackOptions{Spread: 2}, "echo j1-1 j1-2|echo j2-3 j2-4"},
		{"size, spread", Repeated, "echo", numbers(20), PackOptions{Size: 20, Spread: 2}, "echo 1 2 3 4 5 6 7|echo 8 9 10 11 12|echo 13 14 15 16 17|echo 18 19|echo 20"},
		{"size", Joined, "echo {}", numbers(20), PackOptions{Size: 20}, "echo 1 2 3 4 5 6 7|echo 8 9 10 11 12|echo 13 14 15 16 17|echo 18 19 20"},
		{"named values", Repeated, "echo {2}:{-1} x{/}", numbers(3), PackOptions{}, "echo 2:3 x1 x2 x3"},
		{"commands", Joined, "", numbers(3), PackOptions{Rows: 2}, "1 2|3"},
		{"nothing", Joined, "echo", nil, PackOptions{Spread: 2}, ""},
	} {
		tmpl, err := Syntax{Packing: tt.packing}.Template([]string{tt.text})
		if err != nil {
			t.Fatal(err)
		}
		got, err := commandsOf(t, Pack(rowsOf(tt.values...), tmpl, tt.o))
		if s := strings.Join(got, "|"); err != nil || s != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, s, err, tt.want)
		}
	}
}

// A command line is as long as the limit allows and not longer, whatever stands in it.
func TestPackFills(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	syntaxes := []string{"echo {}", `echo "{}" 'x{.}' {1} {-1} {#}`, "f {/}{}z $(g {}) {2:none}", "echo x{}-{1}"}
	for n := range 300 {
		s := Syntax{Packing: Packing(1 + n%2)}
		words := strings.Fields(syntaxes[n%len(syntaxes)])
		tmpl, err := s.Template(words)
		if n%3 == 0 {
			tmpl, err = s.Argv(words)
		}
		if err != nil {
			t.Fatal(err)
		}
		values := make([]string, 40)
		for i := range values {
			values[i] = nasty[rnd.IntN(len(nasty))]
		}
		size := 400 + rnd.IntN(400)
		next := 0
		jobs := Pack(rowsOf(values...), tmpl, PackOptions{Size: size})
		seq := 0
		length := func(values []string) int {
			cmd, err := tmpl.Expand(values, Numbers{seq, Unlimited, 1e9})
			if err != nil {
				t.Fatal(err)
			}
			if cmd.Argv == nil {
				return len(cmd.Text) + 1
			}
			return len(strings.Join(cmd.Argv, " ")) + 1
		}
		for j, err := range jobs {
			if err != nil {
				t.Fatalf("%q: %v", words, err)
			}
			seq++
			if got := length(j.Values); got > size {
				t.Fatalf("%q: %d bytes, at most %d are allowed", words, got, size)
			}
			flat := strings.Join(values, ",")
			if !strings.Contains(flat, strings.Join(j.Values, ",")) {
				t.Fatalf("%q are not the next values", j.Values)
			}
			rest := strings.Split(flat, ",")[next:]
			next += len(j.Values)
			if more := len(j.Values) + 2; len(rest) >= more && length(rest[:more]) <= size {
				t.Fatalf("%q: two more values would fit", words)
			}
		}
		if next != len(strings.Split(strings.Join(values, ","), ",")) {
			t.Errorf("%d values", next)
		}
	}
}

// What is measured is the command as it will be, after each row.
func TestMeter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	texts := []string{"echo {}", `echo "{}" 'x{.}'{1} {-1} {#}`, "f {/}{}z $(g {}) {2:none}{-2:long}", "echo x{}-{1}-{-1} {7}{3}{3} {2}", "{3}", "x {5:much longer than the value}"}
	for n := range 400 {
		s := Syntax{Packing: Packing(1 + n%2)}
		words := strings.Fields(texts[n%len(texts)])
		tmpl, err := s.Template(words)
		if n%3 == 0 {
			tmpl, err = s.Argv(words)
		}
		if err != nil {
			t.Fatal(err)
		}
		var m meter
		for job := range 2 {
			at := Numbers{9 + job, 1, 1}
			m.reset(tmpl, at)
			var values []string
			for range 9 {
				cmd, err := tmpl.Expand(values, at)
				bytes, args, largest := m.measure()
				want := len(cmd.Text) + 1
				if cmd.Argv != nil {
					want = len(strings.Join(cmd.Argv, " ")) + 1
				}
				// An argument that is not there is counted.
				if err == nil && (want > bytes || bytes > want+len(words) || args < len(cmd.Argv) || cmd.Argv == nil && bytes != want) {
					t.Fatalf("%q with %q: measured %d in %d, it is %d: %q", words, values, bytes, args, want, cmd)
				}
				for _, w := range cmd.Argv {
					if m.each == 0 && len(w)+1 > largest {
						t.Fatalf("%q with %q: %q is larger than %d", words, values, w, largest)
					}
				}
				for range 1 + rnd.IntN(2) {
					values = append(values, nasty[rnd.IntN(len(nasty))])
				}
				m.grow(values)
			}
		}
	}
}

// A job whose template names each of its many values expands each a few times, and not with each row.
func TestPackNamesIsLinear(t *testing.T) {
	const n = 500
	expanded := 0
	count := Rule{Tag: "{c}", text: "{c}", edits: edits{func(v string) string { expanded++; return v }}}
	words := []string{"echo"}
	for i := range n {
		words = append(words, fmt.Sprintf("{%dc}", i+1))
	}
	s := Syntax{Packing: Repeated, Rules: []Rule{count}}
	text, err1 := s.Template(words)
	argv, err2 := s.Argv(words)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, tmpl := range []*Template{text, argv} {
		jobs := 0
		expanded = 0
		for j, err := range Pack(rowsOf(numbers(2*n)...), tmpl, PackOptions{Rows: n}) {
			if jobs++; err != nil || j.Err != nil || len(j.Values) != n {
				t.Fatal(len(j.Values), err, j.Err)
			}
		}
		if jobs != 2 || expanded > 2*2*n {
			t.Errorf("%d values were expanded %d times, in %d jobs", 2*n, expanded, jobs)
		}
	}
}

// As many arguments as the system takes can be started, by the shell and without one.
func TestPackToTheSystemsLimit(t *testing.T) {
	values := make([]string, 400_000)
	for i := range values {
		values[i] = strconv.Itoa(i + 1_000_000)
	}
	text, err1 := Syntax{Packing: Joined}.Template([]string{"printf '%s\\n' {}; :"})
	argv, err2 := Syntax{Packing: Joined}.Argv([]string{"printf", "%s\n"})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, tmpl := range []*Template{text, argv} {
		lines, jobs := 0, 0
		for j, err := range Pack(rowsOf(values...), tmpl, PackOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			cmd, err := tmpl.Expand(j.Values, Numbers{1, 1, 1})
			if err != nil {
				t.Fatal(err)
			}
			if jobs++; cmd.Argv == nil {
				if cmd.Argv = []string{shells(t)[0], "-c", cmd.Text}; len(cmd.Text) < 100_000 && lines+len(j.Values) < len(values) {
					t.Errorf("a command of %d bytes", len(cmd.Text))
				}
			}
			out, err := exec.Command(cmd.Argv[0], cmd.Argv[1:]...).Output()
			if err != nil {
				t.Fatal(err)
			}
			lines += strings.Count(string(out), "\n")
		}
		if lines != len(values) || jobs > 40 {
			t.Errorf("%d values in %d jobs", lines, jobs)
		}
	}
}

// A job is there as soon as it is full, however slowly the input goes on.
func TestPackIsLazy(t *testing.T) {
	tmpl, _ := Syntax{Packing: Repeated}.Template([]string{"echo"})
	endless := func(yield func([]string, error) bool) {
		for i := 0; ; i++ {
			if i == 2 {
				t.Error("a third row was read for a job of two")
			}
			if !yield([]string{"x"}, nil) {
				return
			}
		}
	}
	for j, err := range Pack(endless, tmpl, PackOptions{Rows: 2}) {
		if err != nil || len(j.Values) != 2 {
			t.Errorf("%q, %v", j.Values, err)
		}
		break
	}
}

func TestPackErrors(t *testing.T) {
	tmpl, _ := Syntax{Packing: Joined}.Template([]string{"echo"})
	for _, o := range []PackOptions{{Size: 8}, {Size: 8, Rows: 1}, {Size: 8, Spread: 4}} {
		var got []string
		for j, err := range Pack(rowsOf("a", "aaaaaaaaaaaa", "b"), tmpl, o) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(j.Values, j.Err))
		}
		const long = `the command line of ["aaaaaaaaaaaa"] would have 18 bytes, and can have 8: shorten the command, raise -s, or give the input on standard input (--pipe)`
		if want := []string{"[a] <nil>", "[aaaaaaaaaaaa] " + long, "[b] <nil>"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	broken := errors.New("disk on fire")
	failing := func(yield func([]string, error) bool) {
		_ = yield([]string{"a"}, nil) && yield(nil, broken)
	}
	if got, err := commandsOf(t, Pack(failing, tmpl, PackOptions{})); fmt.Sprint(got) != "[echo a]" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReadJobs(t *testing.T) {
	tmpl, _ := ParseTemplate([]string{"echo {#}/{##} {}"})
	all, err := ReadJobs(Pack(rowsOf("a", "b", "c"), tmpl, PackOptions{Rows: 2}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := commandsOf(t, jobsOf(all...))
	if fmt.Sprint(got) != "[echo 1/2 a b echo 2/2 c]" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func jobsOf(list ...Job) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for _, j := range list {
			if !yield(j, nil) {
				return
			}
		}
	}
}
