package input

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// rowsOf collects the rows of a command line.
func rowsOf(t *testing.T, args []string, o Options) ([][]string, error) {
	t.Helper()
	_, sources, err := Split(args)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for row, err := range Rows(sources, o) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func TestSplit(t *testing.T) {
	command, sources, err := Split([]string{"gzip", "-9", ":::", "a", "b"})
	if err != nil || !reflect.DeepEqual(command, []string{"gzip", "-9"}) || len(sources) != 1 {
		t.Errorf("%q %v %v", command, sources, err)
	}
}

// What GNU parallel 20221122 does with the same arguments.
func TestRows(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	f1, f2 := file("f1", "1\n2\n"), file("f2", "x\ny")
	for _, tt := range []struct {
		name  string
		args  []string
		stdin string
		o     Options
		want  string
	}{
		{"values", []string{":::", "a", "b"}, "", Options{}, "[[a] [b]]"},
		{"product", []string{":::", "a", "b", ":::", "1", "2"}, "", Options{}, "[[a 1] [a 2] [b 1] [b 2]]"},
		{"pairs, to the shortest", []string{":::", "1", "2", "3", ":::+", "a", "b"}, "", Options{}, "[[1 a] [2 b]]"},
		{"pairs times product", []string{":::", "1", "2", ":::+", "a", "b", ":::", "X", "Y"}, "", Options{}, "[[1 a X] [1 a Y] [2 b X] [2 b Y]]"},
		{"product with pairs", []string{":::", "X", "Y", ":::", "1", "2", ":::+", "a", "b"}, "", Options{}, "[[X 1 a] [X 2 b] [Y 1 a] [Y 2 b]]"},
		{"files are sources of their own", []string{"::::", f1, f2}, "", Options{}, "[[1 x] [1 y] [2 x] [2 y]]"},
		{"linked files", []string{"::::", f1, "::::+", f2}, "", Options{}, "[[1 x] [2 y]]"},
		{"values and standard input", []string{":::", "a", "::::", "-"}, "1\n2\n", Options{}, "[[a 1] [a 2]]"},
		{"no value", []string{":::"}, "", Options{}, "[]"},
		{"an empty factor", []string{":::", "a", ":::"}, "", Options{}, "[]"},
		{"lines", nil, "a\r\nb\n\nc", Options{}, "[[a\r] [b] [] [c]]"},
		{"no lines", nil, "", Options{}, "[]"},
		{"one empty line", nil, "\n", Options{}, "[[]]"},
		{"NUL", nil, "a\nb\x00c\x00", Options{Null: true}, "[[a\nb] [c]]"},
		{"delimiter", nil, "a,b,\n", Options{Delimiter: ","}, "[[a] [b] [\n]]"},
		{"escaped delimiter", nil, "a\tb", Options{Delimiter: `\x09`}, "[[a] [b]]"},
		{"octal delimiter", nil, "a\x1b1b", Options{Delimiter: `\0331`}, "[[a] [b]]"},
		{"short octal delimiter", nil, "a\x018b", Options{Delimiter: `\18`}, "[[a] [b]]"},
		{"long delimiter", nil, "a--b-c--", Options{Delimiter: "--"}, "[[a] [b-c]]"},
		{"long delimiter, nearly", nil, "a-x--b-", Options{Delimiter: "--"}, "[[a-x] [b-]]"},
		{"columns", nil, "a,b\nc\n", Options{ColSep: ","}, "[[a b] [c]]"},
		{"columns of several sources", []string{":::", "a,b", ":::", "c", "d"}, "", Options{ColSep: ","}, "[[a b c] [a b d]]"},
		{"columns by expression", nil, "a  b\t c\n", Options{ColSep: `\s+`}, "[[a b c]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Stdin = strings.NewReader(tt.stdin)
			rows, err := rowsOf(t, tt.args, tt.o)
			if got := fmt.Sprint(rows); err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		o    Options
		want string
	}{
		{"no such file", []string{"::::", dir + "/none"}, Options{}, ":::: " + dir + "/none: no such file"},
		{"a directory", []string{"::::", dir}, Options{}, "a directory: name a file"},
		{"no name", []string{"::::"}, Options{}, "needs the name of a file"},
		{"nothing to link to", []string{":::+", "a"}, Options{}, "begin with :::"},
		{"standard input twice", []string{"::::", "-", "::::", "-"}, Options{}, "named twice"},
		{"expression", []string{":::", "a"}, Options{ColSep: "("}, "--colsep"},
		{"two delimiters", []string{":::", "a"}, Options{Null: true, Delimiter: ","}, "use one of them"},
		{"escape", []string{":::", "a"}, Options{Delimiter: `\q`}, `\q is not known`},
		{"octal", []string{":::", "a"}, Options{Delimiter: `\400`}, `\400 is no byte`},
		{"hexadecimal", []string{":::", "a"}, Options{Delimiter: `\x1`}, "two hexadecimal digits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := rowsOf(t, tt.args, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A read that fails says after which input; those before it were delivered.
func TestReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	rows, err := rowsOf(t, nil, Options{Stdin: io.MultiReader(strings.NewReader("a\nb\n"), iotest.ErrReader(broken))})
	if fmt.Sprint(rows) != "[[a] [b]]" || !errors.Is(err, broken) || !strings.Contains(err.Error(), "after input 2") {
		t.Errorf("%v, %v", rows, err)
	}
}

// The first row comes although the stream goes on: nothing waits for a full buffer.
func TestLazy(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "first\nsec") // and no more
	for row, err := range Rows(nil, Options{Stdin: r}) {
		if err != nil || row[0] != "first" {
			t.Errorf("%v, %v", row, err)
		}
		break
	}
}

// A line of a hundred megabytes arrives whole, in linear time.
func TestLongLine(t *testing.T) {
	const size = 100 << 20
	in := io.MultiReader(io.LimitReader(zeros{}, size), strings.NewReader("\nshort\n"))
	rows, err := rowsOf(t, nil, Options{Stdin: in})
	if err != nil || len(rows) != 2 || len(rows[0][0]) != size || rows[1][0] != "short" {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// A million lines need no more memory than a thousand.
func TestConstantMemory(t *testing.T) {
	line := strings.Repeat("x", 63) + "\n"
	count := func(n int) float64 {
		return testing.AllocsPerRun(1, func() {
			in := io.LimitReader(repeat{line}, int64(n*len(line)))
			held := 0
			for range Rows(nil, Options{Stdin: in}) {
				held++
			}
			if held != n {
				t.Errorf("%d rows", held)
			}
		}) / float64(n)
	}
	if per := count(100_000); per > 3 {
		t.Errorf("%v allocations for each line", per)
	}
}

type repeat struct{ s string }

func (r repeat) Read(b []byte) (int, error) {
	n := 0
	for n+len(r.s) <= len(b) {
		n += copy(b[n:], r.s)
	}
	if n == 0 {
		n = copy(b, r.s)
	}
	return n, nil
}

func BenchmarkLines(b *testing.B) {
	line := strings.Repeat("x", 40) + "\n"
	in := io.LimitReader(repeat{line}, int64(b.N*len(line)))
	b.ReportAllocs()
	for range Rows(nil, Options{Stdin: in}) {
	}
}
