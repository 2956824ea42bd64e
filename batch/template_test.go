package batch

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What GNU parallel makes of the same template and values, where that is safe.
func TestExpand(t *testing.T) {
	for _, tt := range []struct {
		words  string
		values []string
		want   string
	}{
		{"gzip {}", []string{"a b"}, "gzip 'a b'"},
		{"gzip", []string{"a"}, "gzip a"},
		{"gzip", []string{""}, "gzip ''"},
		{"echo {.}", []string{"dir.d/a.tar.gz"}, "echo dir.d/a.tar"},
		{"echo {.}", []string{"dir.d/a"}, "echo dir.d/a"},
		{"echo {.}", []string{".profile"}, "echo ''"},
		{"echo {.}", []string{"a."}, "echo a"},
		{"echo {.}", []string{"d.d/a.."}, "echo d.d/a."},
		{"echo {.}", []string{"a/.."}, "echo a/.."},
		{"echo {/}", []string{"/usr/bin/x.y"}, "echo x.y"},
		{"echo {/}", []string{"dir/"}, "echo ''"},
		{"echo {//}", []string{"/usr/bin/x.y"}, "echo /usr/bin"},
		{"echo {//}", []string{"x"}, "echo ."},
		{"echo {//}", []string{"/x"}, "echo /"},
		{"echo {//}", []string{"a/b/"}, "echo a"},
		{"echo {/.}", []string{"/usr/bin/x.y.z"}, "echo x.y"},
		{"echo {#} {%}", []string{"v"}, "echo 7 2"},
		{"echo {2} {1}", []string{"a", "b"}, "echo b a"},
		{"echo {-1} {-2.}", []string{"a.x", "b"}, "echo b a"},
		{"echo {2/}{1//}{1/.}", []string{"p/a.x", "q/b"}, "echo bpa"},
		{"echo", []string{"a", "b c"}, "echo a 'b c'"},
		{"echo x{}y", []string{"A", "1"}, "echo xA 1y"},
		{"echo {/}", []string{"p/a", "q/b"}, "echo a b"},
		{"", []string{"echo $HOME | wc"}, "echo $HOME | wc"},
		{"{}", []string{"echo $HOME"}, "echo $HOME"},
		{"", []string{"echo", "a"}, "echo a"},
		{"awk '{print $1}'", []string{"f"}, "awk '{print $1}' f"},
		{"echo {foo} {0} {", []string{"f"}, "echo {foo} {0} { f"},
		{"echo '{}'", []string{"it's"}, `echo 'it'\''s'`},
		{`echo "{}"`, []string{"a$b`c\"d\\e"}, `echo "a\$b\` + "`" + `c\"d\\e"`},
		{"echo ${1} {}", []string{"v"}, "echo ${1} v"},
		{"echo $x{}", []string{"v"}, "echo $x'v'"},
		{`echo "$x{}"`, []string{"v"}, `echo "$x""v"`},
		{"echo {}>{}", []string{"2"}, "echo '2'>2"},
		{"echo $(({} + 1))", []string{"41"}, "echo $((41 + 1))"},
		{"{} then", []string{"if"}, "'if' then"},
	} {
		tmpl, err := ParseTemplate(strings.Fields(tt.words))
		if strings.Contains(tt.words, "'{print") {
			tmpl, err = ParseTemplate([]string{tt.words})
		}
		if err != nil {
			t.Errorf("%s: %v", tt.words, err)
			continue
		}
		got, err := tmpl.Expand(tt.values, Numbers{Seq: 7, Slot: 2, Total: 9})
		if err != nil || got.Text != tt.want || got.Argv != nil {
			t.Errorf("%s with %q: got %q, %v, want %q", tt.words, tt.values, got.Text, err, tt.want)
		}
	}
}

func TestExpandArgv(t *testing.T) {
	for _, tt := range []struct {
		words, values, want []string
	}{
		{[]string{"gzip"}, []string{"a b"}, []string{"gzip", "a b"}},
		{[]string{"cp", "{}", "{.}.bak"}, []string{"$(x).c"}, []string{"cp", "$(x).c", "$(x).bak"}},
		{[]string{"echo", "{}"}, []string{"a", "b"}, []string{"echo", "a", "b"}},
		{[]string{"echo", "x{}y", "{2}"}, []string{"a", "b"}, []string{"echo", "xa by", "b"}},
		{nil, []string{"ls", "-l"}, []string{"ls", "-l"}},
		{[]string{"echo", "`{}`", "a # {#}"}, []string{"v"}, []string{"echo", "`v`", "a # 7"}},
	} {
		tmpl, err := ParseArgv(tt.words)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tmpl.Expand(tt.values, Numbers{Seq: 7, Slot: 2, Total: 9})
		if err != nil || !reflect.DeepEqual(got.Argv, tt.want) {
			t.Errorf("%q with %q: got %q, %v", tt.words, tt.values, got.Argv, err)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"echo `date {}`", "backquotes"},
		{"cat <<X\n{}\nX", "here-document"},
		{"echo ${x:-{}}", "${…}"},
		{"echo hi # {}", "comment"},
		{"echo hi # note", "comment"}, // where {} would be added
		{`echo \{}`, "backslash"},
		{`echo "\{}"`, "backslash"},
		{"echo ${}", "a $ stands"},
		{"echo ${/.}", "a $ stands"},
		{"echo ${x:-{1}}", "${…}"},
		{"echo $'{}'", "$'…'"},
		{"echo 'a {}", "not closed"},
		{`echo "a {}`, "not closed"},
		{"echo $(case x in x) echo {};; esac)", "case"},
	} {
		if tmpl, err := ParseTemplate([]string{tt.text}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q (%+v)", tt.text, err, tt.want, tmpl)
		}
	}
	for _, tt := range []struct {
		text   string
		values []string
		want   string
	}{
		{"echo {3}", []string{"a", "b"}, "{3}: there is no such value, this input has 2"},
		{"echo {-3}", []string{"a", "b"}, "{-3}"},
		{"echo", []string{"a\x00b"}, "NUL"},
		{"echo $(({}))", []string{"a[$(id)]"}, "only a number"},
	} {
		tmpl, err := ParseTemplate([]string{tt.text})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tmpl.Expand(tt.values, Numbers{1, 1, 1}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.text, got.Text, err, tt.want)
		}
	}
}

// Two templates have the same text only if they are the same.
func TestTemplateString(t *testing.T) {
	seen := make(map[string][]string)
	for _, words := range [][]string{{"a b"}, {"a", "b"}, {"a"}, {}, {""}, {"1:a,"}, {"a", ""}, {"a,1:b"}} {
		tmpl, _ := ParseTemplate(words)
		argv, _ := ParseArgv(words)
		for _, s := range []string{tmpl.String(), argv.String()} {
			if old, ok := seen[s]; ok {
				t.Errorf("%q and %q are both %q", words, old, s)
			}
			seen[s] = words
		}
	}
}

// shells that values are quoted for, each once: sh is often another one's name.
func shells(t testing.TB) []string {
	var found, files []string
	var none error
	for _, s := range []string{"dash", "bash", "sh"} {
		path, err := exec.LookPath(s)
		if none = errors.Join(none, err); err != nil {
			continue
		}
		file, err := filepath.EvalSymlinks(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(files, file) { // it is run by its name, by which busybox knows what to be
			files, found = append(files, file), append(found, path)
		}
	}
	if len(found) == 0 {
		t.Skip("no POSIX shell here: ", none)
	}
	return found
}

// nasty are values that a careless quoting would let do harm.
var nasty = []string{
	"", " ", "a b", "'", `"`, `\`, `\\`, "`touch pwned`", "$(touch pwned)", "${HOME}", "$HOME", "$$", "a;touch pwned", "a&b", "a|b",
	"#c", "a#b", "~", "~root", "*", "?", "[a-z]", "{a,b}", "{1..3}", "!", "!!", "^a^b", "-n", "--", "=x", "a=b", "2", "&1", ">x", "<x",
	"if", "time", "a\nb", "\n", "a\n", "\t", "\r\n", "\xff\xfe", "a\x80b", "é", "(", ")", "$(", "$((1))", "'$(x)'", `"$(x)"`,
	`\$(x)`, "a'b\"c`d$e\\f", "%s", "%1", "case", ";;", "EOF", "'\n'", "\\\n", "''", `""`, "$'a'", "a,b", "x{}y", "{}", "{1}",
}

// contexts are commands that print the value, in every place where one can
// stand; they must all print exactly that.
var contexts = []string{
	`printf %s {}`,
	`printf %s "{}"`,
	`printf %s '{}'`,
	`printf %s ""{}''`,
	`printf %s "$(printf %s.  {})"`,
	`printf %s "$(printf %s. "{}")"`,
	`printf %s "$(printf %s. '{}')"`,
	`x={}; printf %s "$x"`,
	`x="{}"; printf %s "$x"`,
	`e=; printf %s $e{}`,
	`e=; printf %s "$e{}"`,
	`f() { printf %s "$1"; }; f {}`,
	`(printf %s {})`,
	`if true; then printf %s {}; fi`,
	`: ${x:=1}; printf %s {}`,
	`printf %s {} | cat`,
	`case a in a) printf %s {} ;; esac`,
	"printf %s \\\n {}",
	`printf %s "$(printf %s. "$(printf %s {})")"`,
	`: 'it'"'"'s' \' \" ; printf %s {}`,
	`: "a\"b" ; printf %s "{}"`,
	"# a comment with 'quote\nprintf %s {}",
}

// expect is what the n-th context prints.
func expect(context, v string) string {
	if strings.Contains(context, "%s.") {
		if strings.Count(context, "%s") == 3 {
			return strings.TrimRight(v, "\n") + "."
		}
		return v + "."
	}
	return v
}

// In every context and every shell a value arrives as it is, and nothing in it
// is run.
func TestQuotingInEveryContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, shell := range shells(t) {
		for _, c := range contexts {
			tmpl, err := ParseTemplate([]string{c})
			if err != nil {
				t.Errorf("%s: %v", c, err)
				continue
			}
			// One shell for all values: each in a subshell, its output ended by a NUL.
			var script strings.Builder
			var want bytes.Buffer
			for _, v := range nasty {
				cmd, err := tmpl.Expand([]string{v}, Numbers{1, 1, 1})
				if err != nil {
					t.Errorf("%s with %q: %v", c, v, err)
					continue
				}
				fmt.Fprintf(&script, "(\n%s\n)\nprintf '\\000'\n", cmd.Text)
				want.WriteString(expect(c, v) + "\x00")
			}
			cmd := exec.Command(shell, "-c", script.String())
			cmd.Dir = dir
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.Output()
			if err != nil || errs.Len() > 0 || !bytes.Equal(out, want.Bytes()) {
				t.Errorf("%s: %s: %v %s\n got %q\nwant %q", shell, c, err, errs.String(), out, want.String())
			}
		}
	}
	if out, _ := exec.Command("ls", dir).Output(); len(out) > 0 {
		t.Fatalf("a value was run: %s", out)
	}
}

// Random values in random contexts.
func FuzzQuoting(f *testing.F) {
	for i, v := range nasty {
		f.Add(v, i)
	}
	shell := shells(f)[0]
	f.Fuzz(func(t *testing.T, v string, n int) {
		if strings.IndexByte(v, 0) >= 0 || len(v) > 1000 {
			return
		}
		c := contexts[uint(n)%uint(len(contexts))]
		tmpl, err := ParseTemplate([]string{c})
		if err != nil {
			t.Fatal(err)
		}
		cmd, err := tmpl.Expand([]string{v}, Numbers{1, 1, 1})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(shell, "-c", cmd.Text).Output()
		if err != nil || string(out) != expect(c, v) {
			t.Errorf("%s: got %q, %v, want %q", cmd.Text, out, err, expect(c, v))
		}
	})
}

// Whatever the template, parsing ends, and without values of its own a
// template's literal text is kept.
func FuzzTemplate(f *testing.F) {
	for _, c := range contexts {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, _ := Syntax{}.grammar()
		segs, err := g.parseShell(text)
		if err != nil {
			return
		}
		n := 0
		for _, s := range segs {
			if s.what == literal {
				if !strings.Contains(text[n:], s.text) {
					t.Fatalf("%q holds %q", text, s.text)
				}
				n += len(s.text)
			}
		}
	})
}

// Where direct leaves the shell out, a shell would have started the program
// with the same arguments.
func TestDirectMatchesShell(t *testing.T) {
	words := []string{"env", "a", "'b c'", `"d e"`, `f\ g`, `"h\"i"`, `"\j"`, "k=v", "l~", "m#n", "", "''", `""`, "-x", "é", "o.p", "%q", ",", "@", ":", "~r", "#s", "a$b", "*", "a|b", "`c`", "{d,e}", "!", "(", "\n", ">f"}
	shell := shells(t)[0]
	agreed := 0
	for i, a := range words {
		for j, b := range words {
			text := "printargs " + a + " x" + b + a
			argv := direct(text)
			if argv == nil {
				continue
			}
			agreed++
			out, err := exec.Command(shell, "-c", `printargs() { printf '%s\000' "$@"; }`+"\n"+text).Output()
			if want := strings.Join(argv[1:], "\x00") + "\x00"; err != nil || string(out) != want {
				t.Errorf("%d %d: %q: shell %q, %v, direct %q", i, j, text, out, err, want)
			}
		}
	}
	if agreed < 100 {
		t.Errorf("only %d commands went without a shell", agreed)
	}
}

func TestDirect(t *testing.T) {
	for _, text := range []string{
		"", "  ", "echo a", "cd /", "FOO=bar cmd", "a | b", "a; b", "a > f", "ls *.c", "ls ~/x", "a $x", "a `b`", "a \"$x\"", "if true", "! true", "{ a; }",
		"a 'b", `a "b`, `a \`, "# comment", "a &", "[ 1 ]", "time ls", "exec ls", ": x", "a {1,2}", "kill 1",
	} {
		if argv := direct(text); argv != nil {
			t.Errorf("%q without a shell: %q", text, argv)
		}
	}
	if argv := direct("  gzip\t-9  'a b'c "); !reflect.DeepEqual(argv, []string{"gzip", "-9", "a bc"}) {
		t.Errorf("got %q", argv)
	}
}

func TestParseJobs(t *testing.T) {
	for s, want := range map[string]int{"1": 1, "7": 7, "100%": 8, "50%": 4, "1%": 1, "200%": 16, "+2": 10, "-3": 5, "-20": 1, "0": Unlimited, "0%": 1} {
		if got, err := ParseJobs(s, 8); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "1.5", "-50%", "%", "100000", "1e3"} {
		if got, err := ParseJobs(s, 8); err == nil {
			t.Errorf("%q gave %d", s, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "512": 512, "64k": 64000, "64K": 65536, "1.5M": 3 << 19, "2G": 2 << 30, "1T": 1 << 40, "1KiB": 1024, "1kiB": 1024, "3MB": 3 << 20, "5B": 5} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "-1", "1X", "1KK", "G", "NaN", "1e30", "Inf"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q gave %d", s, got)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	tmpl, err := ParseTemplate([]string{"gzip -9 < {} > {.}.gz"})
	if err != nil {
		b.Fatal(err)
	}
	values := []string{"some/file name.txt"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Expand(values, Numbers{1, 1, 1}); err != nil {
			b.Fatal(err)
		}
	}
}
