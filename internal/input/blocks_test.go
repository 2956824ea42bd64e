package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func start(s string) Borders { return Borders{Start: s, StartGiven: true} }
func end(s string) Borders   { return Borders{End: s, EndGiven: true} }
func expression(s Borders) Borders {
	s.Regexp = true
	return s
}

// content reads what a job would.
func content(t *testing.T, in interface{ Open() (io.ReadCloser, error) }) string {
	t.Helper()
	r, err := in.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What GNU parallel 20221122 makes of the same streams.
func TestBlocks(t *testing.T) {
	const ten, fasta, dashes = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", ">a\n1\n>b\n2\n>c\n3\n", "a--b--c--d"
	header := "h\ni\n1\n2\n3\n4\n"
	for _, tt := range []struct {
		name, in string
		o        BlockOptions
		want     []string
	}{
		{"size", ten, BlockOptions{Size: 6}, []string{"1\n2\n3\n", "4\n5\n6\n", "7\n8\n9\n", "10\n"}},
		{"records", ten, BlockOptions{Records: 3}, []string{"1\n2\n3\n", "4\n5\n6\n", "7\n8\n9\n", "10\n"}},
		{"lines", ten, BlockOptions{Lines: 3}, []string{"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "10\n"}},
		{"records of lines", ten, BlockOptions{Lines: 3, Records: 2}, []string{"1\n2\n3\n4\n5\n6\n", "7\n8\n9\n10\n"}},
		{"no newline at the end", "a\nb\nc", BlockOptions{Records: 2}, []string{"a\nb\n", "c"}},
		{"size of a record", "a\nb\nc", BlockOptions{Size: 2}, []string{"a\n", "b\n", "c"}},
		{"size too small", "a\nb\nc", BlockOptions{Size: 1}, []string{"a\n", "b\n", "c"}},
		{"header", header, BlockOptions{Header: 1, Records: 2}, []string{"h\ni\n1\n", "h\n2\n3\n", "h\n4\n"}},
		{"header of two lines", header, BlockOptions{Header: 2, Size: 3}, []string{"h\ni\n1\n", "h\ni\n2\n", "h\ni\n3\n", "h\ni\n4\n"}},
		{"header, small blocks", "h\n1\n2\n3\n4\n", BlockOptions{Header: 1, Size: 3}, []string{"h\n1\n", "h\n2\n", "h\n3\n", "h\n4\n"}},
		{"header alone", "h\n", BlockOptions{Header: 1}, nil},
		// GNU parallel gives the next two to a job as its data.
		{"less than a header", "h\ni", BlockOptions{Header: 2}, nil},
		{"less than a header, records", "h\n", BlockOptions{Header: 2, Records: 1}, nil},
		{"start", fasta, BlockOptions{Borders: start(">"), Size: 5}, []string{">a\n1\n", ">b\n2\n", ">c\n3\n"}},
		{"start, too small", fasta, BlockOptions{Borders: start(">"), Size: 1}, []string{">a\n1\n", ">b\n2\n", ">c\n3\n"}},
		{"start, records", fasta, BlockOptions{Borders: start(">"), Records: 2}, []string{">a\n1\n>b\n2\n", ">c\n3\n"}},
		{"start, stripped", fasta, BlockOptions{Borders: start(">"), Records: 1, Strip: true}, []string{"a\n1\n", "b\n2\n", "c\n3\n"}},
		{"before the first start", "junk\n" + fasta, BlockOptions{Borders: start(">"), Records: 1}, []string{"junk\n", ">a\n1\n", ">b\n2\n", ">c\n3\n"}},
		{"both", fasta, BlockOptions{Borders: Borders{`>`, `\n`, true, true, false}, Records: 1}, []string{">a\n1\n", ">b\n2\n", ">c\n3\n"}},
		{"both, stripped", fasta, BlockOptions{Borders: Borders{`>`, `\n`, true, true, false}, Records: 1, Strip: true}, []string{"a\n1", "b\n2", "c\n3"}},
		{"anywhere", fasta, BlockOptions{Borders: end(""), Size: 3}, []string{">a\n", "1\n>", "b\n2", "\n>c", "\n3\n"}},
		{"end", dashes, BlockOptions{Borders: end("--"), Records: 1}, []string{"a--", "b--", "c--", "d"}},
		{"end, stripped", dashes, BlockOptions{Borders: end("--"), Records: 1, Strip: true}, []string{"a", "b", "c", "d"}},
		{"end, size", dashes, BlockOptions{Borders: end("--"), Size: 4, Strip: true}, []string{"a", "b", "c", "d"}},
		{"expression", dashes, BlockOptions{Borders: expression(end("-+")), Records: 1}, []string{"a--", "b--", "c--", "d"}},
		{"expression, size", dashes, BlockOptions{Borders: expression(end("-+")), Size: 4}, []string{"a--", "b--", "c--", "d"}},
		{"expression, stripped", dashes, BlockOptions{Borders: expression(end("-+")), Size: 100, Strip: true}, []string{"abcd"}},
		// GNU parallel makes nothing of the two with ab: it takes out what comes about as well.
		{"stripped, and a new one comes about", "aabbab", BlockOptions{Borders: end("ab"), Strip: true}, []string{"ab"}},
		{"stripped, at the beginning", "<<>x><y>", BlockOptions{Borders: Borders{"<", ">", true, true, false}, Strip: true}, []string{"<>xy"}},
		{"stripped, an expression", "aabbab", BlockOptions{Borders: expression(end("ab")), Strip: true}, []string{"ab"}},
		{"stripped, a start", "<<><x", BlockOptions{Borders: Borders{"<", ">", true, true, true}, Strip: true}, []string{"<x"}},
		{"expression at the start", dashes, BlockOptions{Borders: expression(start("[a-z]-")), Records: 1}, []string{"a--", "b--", "c--d"}},
		{"expression at lines", "a\nb\nc\n", BlockOptions{Borders: expression(end("^b")), Records: 1}, []string{"a\nb", "\nc\n"}},
		{"escapes", "a\tb\tc\n", BlockOptions{Borders: end(`\t`), Records: 1}, []string{"a\t", "b\t", "c\n"}},
		{"nothing", "", BlockOptions{}, nil},
		{"an empty record is one", "\na\nb\n", BlockOptions{Records: 1}, []string{"\n", "a\n", "b\n"}}, // GNU parallel: "\na\n"
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
				var got []string
				for b, err := range Blocks(r, tt.o) {
					if err != nil {
						t.Fatal(err)
					}
					s := content(t, b)
					if got = append(got, s); content(t, b) != s || b.Size() != int64(len(s)) {
						t.Errorf("opened again, or of another size: %q", s)
					}
				}
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestSections(t *testing.T) {
	const ten, fasta = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", ">a\n1\n>b\n2\n>c\n3\n"
	for _, tt := range []struct {
		name, in string
		o        BlockOptions
		want     []string
	}{
		{"size", ten, BlockOptions{Size: 6}, []string{"1\n2\n3\n4\n", "5\n6\n7\n8\n", "9\n10\n"}},
		{"half", ten, BlockOptions{Size: 11}, []string{"1\n2\n3\n4\n5\n6\n", "7\n8\n9\n10\n"}},
		{"start", fasta, BlockOptions{Borders: start(">"), Size: 3}, []string{">a\n1\n", ">b\n2\n", ">c\n3\n"}},
		{"start, at a border", fasta, BlockOptions{Borders: start(">"), Size: 5}, []string{">a\n1\n", ">b\n2\n", ">c\n3\n"}},
		{"start, small", fasta, BlockOptions{Borders: start(">"), Size: 1}, []string{">a\n1\n", ">b\n2\n", ">c\n3\n"}},
		{"both", fasta, BlockOptions{Borders: Borders{`>`, `\n`, true, true, false}, Size: 5}, []string{">a\n1\n>b\n2\n", ">c\n3\n"}},
		{"header", "h\n1\n2\n3\n4\n", BlockOptions{Header: 1, Size: 3}, []string{"h\n1\n2\n", "h\n3\n4\n"}},
		{"header of two lines", "h\ni\n1\n2\n3\n4\n", BlockOptions{Header: 2, Size: 3}, []string{"h\ni\n1\n2\n", "h\ni\n3\n4\n"}},
		{"header alone", "h\n", BlockOptions{Header: 1}, nil},
		{"less than a header", "h\ni", BlockOptions{Header: 2}, nil},
		{"end", "a--b--c--d", BlockOptions{Borders: end("--"), Size: 4}, []string{"a--b--", "c--d"}},
		{"expression", "a--b--c--d", BlockOptions{Borders: expression(end("-+")), Size: 4}, []string{"a--b--", "c--d"}}, // GNU parallel: "a--b--c--", "d"
		{"expression at lines", "a>b\n>c\n>d\n", BlockOptions{Borders: expression(start("^>")), Size: 1}, []string{"a>b\n", ">c\n", ">d\n"}},
		{"anywhere", "abcdefg", BlockOptions{Borders: end(""), Size: 3}, []string{"abc", "def", "g"}},
		{"nothing", "", BlockOptions{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte(tt.in), 0o644); err != nil {
				t.Fatal(err)
			}
			var got []string
			for s, err := range Sections(path, tt.o) {
				if err != nil {
					t.Fatal(err)
				}
				text := content(t, s)
				if got = append(got, text); s.Size() != int64(len(text)) {
					t.Errorf("of another size: %q", text)
				}
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the sizes and separators: together the pieces are the stream, each begins and ends on
// a border, and a stream and a file of the same records are cut at the same kind of place.
func TestPiecesAreTheStream(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "f")
	for n := range 400 {
		in := make([]byte, rnd.IntN(3000))
		for i := range in {
			in[i] = "ab>\n--"[rnd.IntN(6)]
		}
		o := BlockOptions{Size: 1 + rnd.Int64N(300)}
		o.Borders = []Borders{{}, start(">"), end("--"), {">", `\n`, true, true, false}, expression(end("-+")), expression(start("^>"))}[n%6]
		if n%4 == 0 {
			o.Records = 1 + rnd.IntN(5)
		}
		if err := os.WriteFile(path, in, 0o644); err != nil {
			t.Fatal(err)
		}
		var blocks, sections []string
		for b, err := range Blocks(iotest.HalfReader(bytes.NewReader(in)), o) {
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, content(t, b))
		}
		for s, err := range Sections(path, o) {
			if err != nil {
				t.Fatal(err)
			}
			sections = append(sections, content(t, s))
		}
		for _, pieces := range [][]string{blocks, sections} {
			if strings.Join(pieces, "") != string(in) {
				t.Fatalf("%+v: %q is cut into %q", o, in, pieces)
			}
			for i := range pieces[:max(len(pieces)-1, 0)] {
				if !onBorder(n%6, pieces[i], pieces[i+1]) {
					t.Fatalf("%+v: no border between %q and %q", o, pieces[i], pieces[i+1])
				}
			}
		}
	}
}

func onBorder(kind int, before, after string) bool {
	switch kind {
	case 0:
		return strings.HasSuffix(before, "\n")
	case 1:
		return strings.HasPrefix(after, ">")
	case 2:
		return strings.HasSuffix(before, "--")
	case 3, 5:
		return strings.HasSuffix(before, "\n") && strings.HasPrefix(after, ">")
	}
	return strings.HasSuffix(before, "-") && !strings.HasPrefix(after, "-")
}

// A counted block comes although the stream goes on.
func TestBlocksAreLazy(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "1\n2\n3") // and no more
	for b, err := range Blocks(r, BlockOptions{Records: 2}) {
		if err != nil || content(t, b) != "1\n2\n" {
			t.Errorf("%v, %v", b, err)
		}
		break
	}
}

// single reads one record at a time, as from a slow program.
type single struct {
	record string
	left   int
}

func (s *single) Read(b []byte) (int, error) {
	if s.left--; s.left < 0 {
		return 0, io.EOF
	}
	return copy(b, s.record), nil
}

// Many records, each by itself, need memory in proportion to the stream: no buffer for each.
func TestBlocksMemory(t *testing.T) {
	const n = 20_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	blocks := 0
	for range Blocks(&single{"some line\n", n}, BlockOptions{Records: 1}) {
		blocks++
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; blocks != n || used > 20<<20 {
		t.Errorf("%d blocks of %d bytes took %d bytes of memory", blocks, 10*n, used)
	}
}

// A record that comes in many pieces is not searched from its beginning with each of them, and
// is found in the end.
func TestBlocksSearchIsLinear(t *testing.T) {
	const size, pieces = 4 << 20, 1 << 10
	in := strings.Repeat("x", size) + "--" + "y"
	c, err := newCutter(&piecewise{strings.NewReader(in), size / pieces}, BlockOptions{Borders: expression(end("-+")), Records: 1})
	if err != nil {
		t.Fatal(err)
	}
	searched, last := 0, 0
	var got []string
	for !c.eof {
		if err := c.fill(); err != nil {
			t.Fatal(err)
		}
		c.cut(func(b *Block, _ error) bool {
			got = append(got, content(t, b))
			return true
		})
		if c.searched != last {
			last = c.searched
			searched += last
		}
	}
	if searched > 4*size {
		t.Errorf("%d bytes were searched %d times", size, searched/size)
	}
	if len(got) != 1 || got[0] != in[:size+2] {
		t.Errorf("%d blocks", len(got))
	}
}

// piecewise gives so many bytes at a time.
type piecewise struct {
	r io.Reader
	n int
}

func (p *piecewise) Read(b []byte) (int, error) { return p.r.Read(b[:min(p.n, len(b))]) }

// A section of a file that is larger than any memory is found by looking at its borders.
func TestSectionsOfHugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 1 << 40
	if err := f.Truncate(size); errors.Is(err, syscall.EFBIG) || errors.Is(err, syscall.EINVAL) {
		t.Skip("this file system has no files of that size: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{size / 4, size / 2, size - 1} {
		if _, err := f.WriteAt([]byte("\n"), at); err != nil {
			t.Fatal(err)
		}
	}
	var ends []int64
	end := int64(0)
	for s, err := range Sections(path, BlockOptions{Size: size/4 - 50}) {
		if err != nil {
			t.Fatal(err)
		}
		end += s.Size()
		ends = append(ends, end)
		if len(ends) == 2 {
			break
		}
	}
	if want := fmt.Sprint([]int64{size/4 + 1, size/2 + 1}); fmt.Sprint(ends) != want {
		t.Errorf("ends %v, want %v", ends, want)
	}
}

func TestBlockErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	one := func(r io.Reader, o BlockOptions) (last error) {
		for _, err := range Blocks(r, o) {
			last = err
		}
		return last
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{one(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), BlockOptions{}), "after 3 bytes: disk on fire"},
		{one(nil, BlockOptions{Borders: end(`\q`)}), "--recend"},
		{one(nil, BlockOptions{Borders: expression(end("("))}), "--recend"},
		{one(nil, BlockOptions{Borders: expression(start("a)(b"))}), "--recstart"},
		{one(nil, BlockOptions{Borders: expression(end("x*"))}), "match an empty text"},
		{one(nil, BlockOptions{Borders: end(""), Records: 1}), "-N counts records"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("got %v, want %q", tt.err, tt.want)
		}
	}
	for path, want := range map[string]string{"/dev/null": "neither a file nor", t.TempDir(): "neither a file nor", "-": "standard input (-)", "/none": "no such file"} {
		if _, err := FileSizes([]string{path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
