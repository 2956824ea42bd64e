package input

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What GNU parallel 20221122 (with Text::CSV 2.02) does with the same inputs.
func TestColumns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("h\n1\n2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		args  []string
		stdin string
		o     Options
		want  string
	}{
		{"csv", nil, "a,\"b,c\",d\n\"x \"\"q\"\"\",,z\n\"multi\nline\",2\n", Options{CSV: true}, `[["a" "b,c" "d"] ["x \"q\"" "" "z"] ["multi\nline" "2"]]`},
		{"csv, other separator", []string{":::", `a;"b;c"`}, "", Options{CSV: true, ColSep: ";"}, `[["a" "b;c"]]`},
		{"csv, long separator", nil, "a,,b\n", Options{CSV: true, ColSep: ",,"}, `[["a" "b"]]`},
		{"csv, empty columns", nil, "\"a\"\n,\n", Options{CSV: true}, `[["a"] ["" ""]]`},
		{"csv, an empty line", nil, "a,b\n\nx,y", Options{CSV: true}, `[["a" "b"] [""] ["x" "y"]]`},
		{"csv, values", []string{":::", `a,"b,c"`, ":::", "d"}, "", Options{CSV: true}, `[["a" "b,c" "d"]]`},
		{"csv, line ends of Windows", nil, "\"a\r\nb\",c\r\nx,\"y\"\r\n", Options{CSV: true}, `[["a\r\nb" "c"] ["x" "y"]]`},
		{"header", nil, "a,b\n1,2\n3,4\n", Options{Header: true, ColSep: ","}, `[a b] [["1" "2"] ["3" "4"]]`},
		{"header, csv", nil, "name,\"the age\"\nann,3\n\"bo,b\",4\n", Options{Header: true, CSV: true}, `[name the age] [["ann" "3"] ["bo,b" "4"]]`},
		{"header of each source", []string{":::", "x", "1", "2", "::::", file}, "", Options{Header: true}, `[x h] [["1" "1"] ["1" "2"] ["2" "1"] ["2" "2"]]`},
		{"header, pairs", []string{":::", "x", "1", "2", ":::+", "y", "3", "4"}, "", Options{Header: true}, `[x y] [["1" "3"] ["2" "4"]]`},
		{"header with line ends of Windows", nil, "a\tb\r\n1\t2\r\n", Options{Header: true, ColSep: `\t`}, `[a b] [["1" "2\r"]]`}, // GNU parallel: "b\r"
		{"header with line ends of Windows, joined", nil, "a\r\n1 \n2\n", Options{Header: true, Continue: true}, `[a] [["1 2"]]`},
		{"header, a carriage return in a value", []string{":::", "a\r", "1"}, "", Options{Header: true}, "[a\r] [[\"1\"]]"},
		// GNU parallel takes a byte order mark as part of the first value.
		{"byte order mark", nil, "\xef\xbb\xbfa\n\xef\xbb\xbfb\n", Options{}, `[["a"] ["\ufeffb"]]`},
		{"byte order mark and header", nil, "\xef\xbb\xbfa,b\n1,2\n", Options{Header: true, CSV: true}, `[a b] [["1" "2"]]`},
		{"byte order mark before quotes", nil, "\xef\xbb\xbf\"a,b\",c\n", Options{CSV: true}, `[["a,b" "c"]]`},
		{"byte order mark and nothing", nil, "\xef\xbb\xbf", Options{}, `[]`},
		{"byte order mark and an empty line", nil, "\xef\xbb\xbf\n", Options{}, `[[""]]`},
		{"byte order mark in a value", []string{":::", "\xef\xbb\xbfa"}, "", Options{}, `[["\ufeffa"]]`},
		{"header of nothing", nil, "", Options{Header: true}, `[]`},
		{"link", []string{":::", "a", "b", "c", ":::", "1", "2"}, "", Options{Link: true}, `[["a" "1"] ["b" "2"] ["c" "1"]]`},
		{"link, the last is the longest", []string{":::", "1", "2", ":::", "a", "b", "c", "d", "e"}, "", Options{Link: true}, `[["1" "a"] ["2" "b"] ["1" "c"] ["2" "d"] ["1" "e"]]`},
		{"link of linked", []string{":::", "a", "b", "c", ":::", "1", "2", ":::+", "x", "y", "z"}, "", Options{Link: true}, `[["a" "1" "x"] ["b" "2" "y"] ["c" "1" "z"]]`},
		{"link of columns", []string{":::", "x,y", "1,2", "3,4", ":::", "z", "9"}, "", Options{Link: true, Header: true, ColSep: ","}, `[x y z] [["1" "2" "9"] ["3" "4" "9"]]`},
		{"link with nothing", []string{":::", "a", "b", ":::"}, "", Options{Link: true}, `[]`}, // GNU parallel: a Perl error
		{"trim none", []string{":::", " a b "}, "", Options{Trim: "n"}, `[[" a b "]]`},
		{"trim left", []string{":::", " a b "}, "", Options{Trim: "l"}, `[["a b "]]`},
		{"trim right", []string{":::", " a b "}, "", Options{Trim: "r"}, `[[" a b"]]`},
		{"trim both", []string{":::", " a b "}, "", Options{Trim: "rl"}, `[["a b"]]`},
		{"trim columns", []string{":::", " a , b "}, "", Options{Trim: "lr", ColSep: ","}, `[["a" "b"]]`},
		{"no empty inputs", nil, "a\n\nb\n \n", Options{SkipEmpty: true}, `[["a"] ["b"]]`},
		{"no empty values", []string{":::", "", "a"}, "", Options{SkipEmpty: true}, `[["a"]]`},
		{"joined", nil, "1 \n2\n3\n", Options{Continue: true}, `[["1 2"] ["3"]]`},
		{"joined more than once", nil, "a\nc\nd\t\n\ne\n", Options{Continue: true}, "[[\"a\"] [\"c\"] [\"d\\te\"]]"},
		{"joined, an empty line first", nil, "\na \n\nb\n", Options{Continue: true}, `[[""] ["a b"]]`},
		{"joined, no empty ones", nil, "\n \na \n\nb\n", Options{Continue: true, SkipEmpty: true}, `[["a b"]]`},
		{"joined to the end", nil, "a\nc \n", Options{Continue: true}, `[["a"] ["c "]]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Stdin = strings.NewReader(tt.stdin)
			_, sources, err := Split(tt.args)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Open(sources, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			var rows [][]string
			for row, err := range r.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, row)
			}
			got := fmt.Sprintf("%q", rows)
			if len(r.Names()) > 0 {
				got = fmt.Sprint(r.Names()) + " " + got
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestColumnErrors(t *testing.T) {
	for _, tt := range []struct {
		name, stdin string
		o           Options
		want        string
	}{
		{"blank before a quote", "x,y\na, \"b\" ,c\n", Options{CSV: true}, `standard input, input 2: a " stands within a column`},
		{"quote inside", "a,b\"\"c,d\n", Options{CSV: true}, "put the column in quotes"},
		{"behind quotes", "a,\"b\"c,d\n", Options{CSV: true}, "comes something else"},
		{"open at the end", "a,\"b\nunclosed", Options{CSV: true}, "no other one closes"},
		{"with a delimiter", "", Options{CSV: true, Delimiter: ";"}, "leave -0 and -d away"},
		{"with NUL", "", Options{CSV: true, Null: true}, "leave -0 and -d away"},
		{"separator", "", Options{CSV: true, ColSep: `"`}, "use one character"},
		{"trim", "", Options{Trim: "x"}, "use l, r or lr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Stdin = strings.NewReader(tt.stdin)
			if _, err := rowsOf(t, nil, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Lines that go on in the next one are joined in linear time, and not for ever.
func TestJoinedLines(t *testing.T) {
	const lines = 400_000
	line := strings.Repeat("x", 31) + " \n"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rows, err := rowsOf(t, nil, Options{Continue: true, Stdin: io.LimitReader(repeat{line}, lines*33)})
	runtime.ReadMemStats(&after)
	if err != nil || len(rows) != 1 || len(rows[0][0]) != lines*32 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 20*lines*33 {
		t.Errorf("%d bytes of memory were used for %d", used, lines*33)
	}
	_, err = rowsOf(t, nil, Options{Continue: true, Stdin: repeat{line}})
	if err == nil || !strings.Contains(err.Error(), "these are more than 67108864 bytes: take the blanks away") {
		t.Errorf("without an end: %v", err)
	}
}

// Linked rows come while the longest source goes on, and it is not held.
func TestLinkIsLazy(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "1\n2\n3\n") // and no more
	_, sources, _ := Split([]string{":::", "a", "b", "::::", "-"})
	n := 0
	for row, err := range Rows(sources, Options{Stdin: r, Link: true}) {
		if n++; err != nil || len(row) != 2 {
			t.Errorf("%q, %v", row, err)
		}
		if n == 3 {
			break
		}
	}
}
