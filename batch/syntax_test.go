package batch

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// rules parses replacement strings.
func rules(t testing.TB, texts ...string) (rules []Rule) {
	t.Helper()
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	return rules
}

// What GNU parallel 20221122 makes of the same, where that is safe.
func TestSyntax(t *testing.T) {
	several := []string{"1.a", "2.b", "3"}
	named := Syntax{Names: []string{"x", "y", "a b", "2"}}
	own := Syntax{Rules: rules(t, "{r} s/a/b/g", "{..} s:\\.[^.]+$::;s:\\.[^.]+$::;", "{u} $_=uc($_)", "FOO s/(.)(.)/$2$1/", "{x} y/a-c/A-C/", "{d} tr/a-c//d")}
	for _, tt := range []struct {
		syntax Syntax
		text   string
		values []string
		want   string
	}{
		{named, "echo {x}{.}-{y.}-{x/}-{x//}-{x/.} {a b} {nope,} { nope }", []string{"p/a.b", "1.e", "v"}, "echo p/a.bp/a 1 v-1-a.b-p-a v {nope,} { nope }"},
		{named, "echo {2} {1}", []string{"a", "b", "c", "d"}, "echo d a"}, // a name goes before a number
		{named, "echo {x} {=x s/1/2/=} {x:none}", []string{"1"}, "echo 1 2 1"},
		{own, "echo {r} {1r} {2r}", []string{"banana", "a"}, "echo bbnbnb b bbnbnb b"},
		{own, "echo {..} {1..} {u}", []string{"a.b.c.d"}, "echo a.b a.b A.B.C.D"},
		{own, "echo FOO xFOOx", []string{"abc"}, "echo bac xbacx"},
		{own, "echo {x} {d}", []string{"abcd"}, "echo ABCd d"},
		{Syntax{Rules: rules(t, "{} s/a/b/")}, "{}", []string{"echo a; echo xa", "a"}, "echo b; echo xa b"}, // the value is the command
		{Syntax{Rules: rules(t, "{} s/a/b/")}, "", []string{"echo a; echo xa"}, "echo a; echo xa"},
		{Syntax{Rules: rules(t, "{} s/a/b/")}, "echo {} {1}", []string{"a;"}, "echo 'b;' 'b;'"},
		{Syntax{Rules: rules(t, ",, s/a/b/"), Replace: ",,"}, ",,", []string{"echo a"}, "echo b"},
		{Syntax{Rules: rules(t, "{} s/a/b/"), Packing: Repeated}, "{}", []string{"echo a", "xa"}, "echo b xb"},
		{Syntax{Rules: rules(t, "{u} uc")}, "{}", []string{"echo a"}, "echo a"},
		{Syntax{}, "echo {= s/a/b/ =} {=1 s/b/x/=} {=2 tr/a-z/A-Z/ =}{=-1 uc=}", []string{"abc", "def"}, "echo bbc def axc DEFDEF"},
		{Syntax{}, `echo {=s/(.)/<\1>/g=} {= s/a/$&$&/; tr/1-2/x-y/ =}`, []string{"a1"}, "echo '<a><1>' aax"},
		{Syntax{}, `echo {=1 s/(1)/[$1${1}0\$]/ =}`, []string{"a12"}, "echo 'a[110$]2'"},
		{Syntax{}, "echo {1:d} {1:-d} {2:it's} {##} {= open", []string{""}, "echo d d 'it'\\''s' 9 {= open"},
		{Syntax{Plus: true}, "echo {..}:{...}:{/..}:{/...}:{+/}:{+.}:{+..}:{+...}:{1..}", []string{"dir/a.b.c.d"}, "echo dir/a.b:dir/a:a.b:a:dir:d:c.d:b.c.d:dir/a.b"},
		{Syntax{Plus: true}, "echo {..}:{...}:{/..}:{/...}:{+/}:{+.}:{+..}:{+...}", []string{"d.e/.a.b"}, "echo d.e/:d.e/.a.b:'':.a.b:d.e:b:a.b:''"},
		{Syntax{Plus: true}, "echo {..}:{+/}:{+.}:{:-none}", []string{"d/"}, "echo d/:d:'':d/"},
		{Syntax{Plus: true}, "echo {:-none}", []string{""}, "echo none"},
		{Syntax{}, "echo {..} {+/}", []string{"a"}, "echo {..} {+/} a"},
		{Syntax{Rules: rules(t, "@ uc", "@@ lc", "@+ s/a/b/")}, "echo @ @@ @+ @@@", []string{"aB"}, "echo AB ab bB abAB"}, // the longest
		{Syntax{Replace: ",,"}, "echo ,, ,,. {1.} {2} {.} {}", []string{"a.b"}, "echo a.b a.b. a {2} a {}"},
		{Syntax{Replace: "@@"}, "echo {#}", []string{"a.b"}, "echo 7"},
		{Syntax{Replace: "@@"}, "echo", []string{"a.b"}, "echo a.b"},
		{Syntax{Packing: Joined}, `echo a{}b-{}c d {} "e{}"`, []string{"1", "2"}, `echo a1 2b-1 2c d 1 2 "e1 2"`},
		{Syntax{Packing: Joined}, `echo "{} {.}"`, several, `echo "1.a 2.b 3 1 2 3"`},
		{Syntax{Packing: Repeated}, "echo x{}y", []string{"1", "2"}, "echo x1y x2y"},
		{Syntax{Packing: Repeated}, "echo a{}b c{.}d lit", several, "echo a1.ab a2.bb a3b c1d c2d c3d lit"},
		{Syntax{Packing: Repeated}, `echo a{}b-{}c 'd {} "e{}"'`, []string{"1", "2"}, `echo a1b-1c a2b-2c 'd 1 "e1"' 'd 2 "e2"'`},
		{Syntax{Packing: Repeated}, "echo 'a{}b' \"c{}d\"", []string{"x y"}, "echo 'ax yb' \"cx yd\""},
		{Syntax{Packing: Repeated}, "echo {2} {}", []string{"4", "5"}, "echo 5 4 5"},
		{Syntax{Packing: Repeated}, "echo {2}:{-1} x{/} j{#}-{}", []string{"1", "p/2"}, "echo p/2:p/2 x1 x2 j7-1 j7-p/2"},
		{Syntax{Packing: Repeated}, "echo", several, "echo 1.a 2.b 3"},
		{Syntax{Packing: Repeated}, "echo {1}+{3} {3} {3}.", []string{"1", "2"}, "echo 1+''  ''."}, // GNU parallel: 1+
		{Syntax{Packing: Repeated}, "echo {}-{1}-{#}", nil, "echo -''-7"},
		{Syntax{Packing: Repeated}, "echo $(basename x{}y | cat) a{}", []string{"1", "2"}, "echo $(basename x1y x2y | cat) a1 a2"},
		{Syntax{Packing: Repeated}, `cat x{};echo "$(echo {})$y">o && (f {}) <<<{}`, []string{"1", "2"}, `cat x1 x2;echo "$(echo 1 2)$y">o && (f 1 2) <<<1 2`},
		{Syntax{Packing: Repeated}, `echo "a b"{} c\ d{} $(({}+1))`, []string{"1", "2"}, `echo "a b"1 "a b"2 c\ d1 c\ d2 $((1+1)) $((2+1))`},
		{Syntax{Stdin: true}, "cat {} {.} {1} {1}x; echo {#} {%}", nil, "cat '' '' '' ''x; echo 7 2"},
		{Syntax{Stdin: true}, "cat # note", []string{"v"}, "cat # note"},
	} {
		tmpl, err := tt.syntax.Template([]string{tt.text})
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		got, err := tmpl.Expand(tt.values, Numbers{Seq: 7, Slot: 2, Total: 9})
		if err != nil || got.Text != tt.want {
			t.Errorf("%s with %q:\n got %q, %v\nwant %q", tt.text, tt.values, got.Text, err, tt.want)
		}
		if want := strings.Contains(tt.text, "{##}"); tmpl.NeedsTotal() != want {
			t.Errorf("%s needs the total: %v", tt.text, !want)
		}
	}
}

func TestSyntaxArgv(t *testing.T) {
	for _, tt := range []struct {
		syntax              Syntax
		words, values, want []string
	}{
		{Syntax{Names: []string{"x"}}, []string{"echo", "{x.}", "a{x}"}, []string{"p.q"}, []string{"echo", "p", "ap.q"}},
		{Syntax{Packing: Joined}, []string{"echo", "x{}y", "{}"}, []string{"a b", "c"}, []string{"echo", "xa b cy", "a b", "c"}},
		{Syntax{Packing: Repeated}, []string{"echo", "x{}y", "{2}", "{3}", "{3}z"}, []string{"a b", "c"}, []string{"echo", "xa by", "xcy", "c", "z"}},
		{Syntax{Packing: Repeated}, []string{"echo"}, []string{"a", "b"}, []string{"echo", "a", "b"}},
		{Syntax{Packing: Repeated}, []string{"echo", "{}", "x{}"}, nil, []string{"echo", "x"}},
		{Syntax{Stdin: true}, []string{"cat", "{}", "{1}", "-{#}"}, nil, []string{"cat", "", "", "-7"}},
		{Syntax{Rules: rules(t, "% uc")}, []string{"echo", "%", "{##}"}, []string{"$(a)"}, []string{"echo", "$(A)", "9"}},
	} {
		tmpl, err := tt.syntax.Argv(tt.words)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tmpl.Expand(tt.values, Numbers{Seq: 7, Slot: 2, Total: 9})
		if err != nil || !reflect.DeepEqual(got.Argv, tt.want) {
			t.Errorf("%q with %q: got %q, %v, want %q", tt.words, tt.values, got.Argv, err, tt.want)
		}
	}
}

// What Perl makes of the same steps, but for uc and lc alone.
func TestRules(t *testing.T) {
	for _, tt := range []struct{ steps, value, want string }{
		{"", "a", "a"},
		{"s/a/b/", "aa", "ba"},
		{"s/A/b/gi", "aa", "bb"},
		{"s{a}{b}g; s[b][c]", "aa", "cb"},
		{"s(a) <b>", "a", "b"},
		{"s,/,:,g", "/a/b", ":a:b"},
		{`s/\//:/g`, "/a/b", ":a:b"},
		{`s|a\|b|x|`, "a|b", "x|b"},
		{`s/x*/-/g`, "ab", "-a-b-"},
		{`s/(a)|(b)/[$1$2]/g`, "abc", "[a][b]c"},
		{`s/b/\n\t\\\$/`, "abc", "a\n\t\\$c"},
		{`s/b/$&$&/;s/$/!/`, "abc", "abbc!"},
		{"s/b//", "b", ""},
		{"tr/a-z/A-Z/", "aéz", "AéZ"},
		{"y/abc/x/", "abcd", "xxxd"},
		{"tr/abc/x/d", "abcd", "xd"},
		{"tr/a-//d", "a-b", "b"},
		{`tr/\/\-/:_/`, "/a-", ":a_"},
		{"tr/aa/xy/", "a", "x"},
		{"uc", "aé\xffz", "Aé\xffZ"},
		{"$_ = lc $_;", "ABC", "abc"},
		{"uc ; lc($_);;", "aBc", "abc"},
	} {
		r, err := ParseRule("{x} " + tt.steps)
		if err != nil {
			t.Errorf("%s: %v", tt.steps, err)
			continue
		}
		if got := r.edits.apply(tt.value); got != tt.want {
			t.Errorf("%s on %q: got %q, want %q", tt.steps, tt.value, got, tt.want)
		}
	}
}

func TestRuleErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{x} $_=reverse":         "there is no Perl here",
		"{x} s/a/b/e":            "the flag e is not known",
		"{x} s/a/b":              "a / is missing",
		"{x} s{a}/b/":            "between brackets as well",
		"{x} s/(/b/":             "RE2",
		"{x} s/a(?=b)/c/":        "without look-around",
		"{x} s/a/$1/":            "the expression has 0 groups",
		"{x} s/a/$x/":            `write \$`,
		"{x} s/a/\\U/":           "is not known",
		"{x} s/a/b/ || s/c/d/":   "there is no Perl here",
		"{x} tr/a/b/c":           "only the flag d",
		"{x} tr/z-a/b/":          "the range z-a is empty",
		"{x} tr/é/b/":            "use s///g",
		"{x} ucfirst":            "there is no Perl here",
		"{%(.+)} s/$$1//":        "needs Perl",
		" uc":                    "the tag is empty",
		"$x uc":                  "no tag that a shell command could hold",
		"'x' uc":                 "no tag that a shell command could hold",
		"{x} uc lc":              "is not understood",
		"{x} system('rm -rf /')": "there is no Perl here",
	} {
		if r, err := ParseRule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q (%v)", text, err, want, r)
		}
	}
	for text, want := range map[string]string{
		"echo {= reverse =}":    "there is no Perl here",
		"echo {=1 s/a/ =}":      "is missing",
		"echo x{}$(echo {})":    "set a variable",
		`echo "{} $(echo {.})"`: "set a variable",
		`echo \{= uc =}`:        "backslash",
		"echo `{1:x}`":          "backquotes",
		"echo $'{x}'":           "$'…'",
		"echo $@@":              "a $ stands",
		`echo \@@`:              "backslash",
		"echo ${@@}":            "${…}",
	} {
		s := Syntax{Names: []string{"x"}, Packing: Repeated, Rules: rules(t, "@@ uc")}
		if tmpl, err := s.Template([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q (%+v)", text, err, want, tmpl)
		}
	}
}

// A column that is not there is an error where columns have names, and what a shell or awk has between
// braces is none.
func TestUnknownColumn(t *testing.T) {
	plain := Syntax{Names: []string{"x", "", "size-2"}}
	blank := Syntax{Names: []string{"the age", "größe"}, Rules: rules(t, "{up} uc")}
	for _, tt := range []struct {
		syntax Syntax
		text   string
		known  string // empty: it is none
	}{
		{plain, "echo {nope}", "{x} {size-2}"},
		{plain, "echo {X}", "{x} {size-2}"},
		{plain, "echo '{nope.}'", "{x} {size-2}"},
		{plain, `echo "$(echo {size_2//})"`, "{x} {size-2}"},
		{plain, "awk '{print}' {x}", "{x} {size-2}"},
		{blank, "echo {the name}", "{the age} {größe}"},
		{blank, "echo {grösse}", "{the age} {größe}"},
		{blank, "echo {the ageup} {up} {größe/}", ""},
		{plain, "echo {the name}", ""},
		{plain, "awk '{ print }' {x}", ""},
		{plain, "awk '{print $1; n++}' {x}", ""},
		{plain, "echo ${nope} ${nope:-x} {x}", ""},
		{plain, "echo {a,b} {a..c} {x}.{nope,}; { true;}", ""},
		{plain, `grep -E 'a{2,}[[:alpha:]]{,3}' {x}`, ""},
		{plain, `jq '{"nope"}' {x}`, ""},
		{Syntax{}, "echo {nope}", ""},
		{Syntax{Names: []string{""}}, "echo {nope}", ""},
	} {
		_, err1 := tt.syntax.Template([]string{tt.text})
		_, err2 := tt.syntax.Text(strings.ReplaceAll(tt.text, "$", ""))
		if strings.Contains(tt.text, "${") {
			err2 = err1 // no shell, no parameters
		}
		for _, err := range []error{err1, err2} {
			if tt.known == "" && err != nil || tt.known != "" && (err == nil || !strings.Contains(err.Error(), "there is no such column, they are "+tt.known+":")) {
				t.Errorf("%s: %v", tt.text, err)
			}
		}
	}
}

// Templates that differ only in their syntax are told apart, by the job log for one.
func TestSyntaxInTemplateString(t *testing.T) {
	seen := make(map[string]Syntax)
	for _, s := range []Syntax{{}, {Names: []string{"a"}}, {Names: []string{"a", "b"}}, {Names: []string{"a,b"}}, {Plus: true}, {Packing: Joined}, {Packing: Repeated}, {Stdin: true},
		{Replace: "@"}, {Rules: rules(t, "{a} uc")}, {Rules: rules(t, "{a} lc")}} {
		tmpl, err := s.Template([]string{"echo @"})
		if err != nil {
			t.Fatal(err)
		}
		if old, ok := seen[tmpl.String()]; ok {
			t.Errorf("%+v and %+v are both %q", s, old, tmpl)
		}
		seen[tmpl.String()] = s
	}
	plain, _ := ParseTemplate([]string{"echo", "a"})
	if plain.String() != "4:echo,1:a," { // journals of earlier versions have it
		t.Errorf("%q", plain)
	}
}

// spellings are ways to write the value: names, rules, defaults, tags without braces.
var spellings = []string{"{}", "{v}", "{v:none}", "{1:none}", "@@", "{id}", "{= s/x/x/ =}", "{=v =}", "{9:-%}", "{-1id}"}

// respell writes a context another way. What is not there gets the value as its default.
func respell(context, spelling, v string) string {
	if spelling == "{9:-%}" {
		if v == "" || strings.ContainsAny(v, "}\n") || v[0] == '-' {
			spelling = "{}"
		} else {
			spelling = "{9:-" + v + "}"
		}
	}
	return strings.ReplaceAll(context, "{}", spelling)
}

func spelled(t testing.TB, packing Packing) Syntax {
	return Syntax{Names: []string{"v"}, Rules: rules(t, "@@ s/x/x/", "{id} tr/a/a/"), Plus: true, Packing: packing}
}

// In every context, every spelling and every shell a value arrives as it is: one value
// in a packed job is like one alone.
func TestQuotingOfSyntax(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shell := shells(t)[0]
	for _, packing := range []Packing{OneRow, Joined, Repeated} {
		syntax := spelled(t, packing)
		for i, c := range contexts {
			var script strings.Builder
			var want bytes.Buffer
			for j, v := range nasty {
				spelling := spellings[(i+j)%len(spellings)]
				if strings.Contains(spelling, "none") && v == "" {
					spelling = "{}"
				}
				text := respell(c, spelling, v)
				if packing == Repeated && strings.Count(text, "$(printf") > 0 && strings.Contains(text, "x={}") {
					continue
				}
				tmpl, err := syntax.Template([]string{text})
				if err != nil {
					t.Errorf("%s: %v", text, err)
					continue
				}
				cmd, err := tmpl.Expand([]string{v}, Numbers{1, 1, 1})
				if err != nil {
					t.Errorf("%s with %q: %v", text, v, err)
					continue
				}
				fmt.Fprintf(&script, "(\n%s\n)\nprintf '\\000'\n", cmd.Text)
				want.WriteString(expect(c, v) + "\x00")
			}
			runScript(t, shell, dir, c, script.String(), want.Bytes())
		}
	}
}

// runScript runs a script that must print something and nothing else, and leave nothing.
func runScript(t *testing.T, shell, dir, what, script string, want []byte) {
	t.Helper()
	cmd := exec.Command(shell, "-c", script)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 || !bytes.Equal(out, want) {
		t.Errorf("%s: %v %s\n got %q\nwant %q", what, err, errs.String(), out, want)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Fatalf("%s: a value was run: %v", what, left)
	}
}

// packedContexts print all values, each with a bar behind it, also in words of odd shapes.
var packedContexts = []string{
	`printf '%s|' {}`, `printf '%s|' "{}"`, `printf '%s|' '{}'`, `printf '%s|' ""{}''`, `printf '%s|' "$(printf '%s|' {})"`,
	`f() { printf '%s|' "$@"; }; f {}`, `(printf '%s|' {})`, `if true; then printf '%s|' {};fi`, `e=; printf '%s|' $e{} | cat`, `e=; printf '%s|' "$e{}"`,
	`printf '%s|' {1:-no} {2} {3}`, `printf '%s|' "{1}" "{2}"'{3}'`,
}

// All values of a packed job arrive, each as it is.
func TestQuotingOfRepeatedWords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, shell := range shells(t) {
		for _, c := range packedContexts {
			tmpl, err := spelled(t, Repeated).Template([]string{c})
			if err != nil {
				t.Errorf("%s: %v", c, err)
				continue
			}
			var script strings.Builder
			var want bytes.Buffer
			for i, v := range nasty {
				values := []string{v, nasty[(i*7+3)%len(nasty)], nasty[(i*5+1)%len(nasty)]}
				cmd, err := tmpl.Expand(values, Numbers{1, 1, 1})
				if err != nil {
					t.Errorf("%s with %q: %v", c, values, err)
					continue
				}
				fmt.Fprintf(&script, "(\n%s\n)\nprintf '\\000'\n", cmd.Text)
				want.WriteString(expectPacked(c, values) + "\x00")
			}
			runScript(t, shell, dir, c, script.String(), want.Bytes())
		}
	}
}

func expectPacked(c string, values []string) string {
	switch {
	case strings.Contains(c, "{1:-no}"):
		if values[0] == "" {
			values = append([]string{"no"}, values[1:]...)
		}
	case strings.Contains(c, `"{2}"'{3}'`):
		values = []string{values[0], values[1] + values[2]}
	}
	all := strings.Join(values, "|") + "|"
	if strings.Contains(c, "$(printf") {
		all += "|"
	}
	return all
}

// Random values and templates in random syntaxes: what is accepted can be expanded without
// a value of one job getting into the text of another place.
func FuzzSyntax(f *testing.F) {
	for i, c := range append(append([]string(nil), contexts...), packedContexts...) {
		f.Add(c, nasty[i%len(nasty)], i)
	}
	shell, dir := shells(f)[0], f.TempDir()
	f.Fuzz(func(t *testing.T, c, v string, n int) {
		if strings.IndexByte(v, 0) >= 0 || len(v) > 500 {
			return
		}
		i := int(uint(n) % uint(len(contexts)))
		spelling := spellings[uint(n)%uint(len(spellings))]
		if v == "" {
			spelling = "{}"
		}
		text := respell(contexts[i], spelling, v)
		tmpl, err := spelled(t, Packing(uint(n)%3)).Template([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		cmd, err := tmpl.Expand([]string{v}, Numbers{1, 1, 1})
		if err != nil {
			t.Fatal(err)
		}
		run := exec.Command(shell, "-c", cmd.Text)
		run.Dir = dir
		out, err := run.Output()
		if err != nil || string(out) != expect(contexts[i], v) {
			t.Errorf("%s: got %q, %v, want %q", cmd.Text, out, err, expect(contexts[i], v))
		}
		for _, packing := range []Packing{OneRow, Joined, Repeated} { // any text at all: no panic
			if tmpl, err := spelled(t, packing).Template([]string{c}); err == nil {
				tmpl.Expand([]string{v, v}, Numbers{1, 1, 1})
			}
		}
	})
}

// A text has no value added to it.
func TestText(t *testing.T) {
	for text, want := range map[string]string{"x": "x", "{#}-{}": "3-a", "{.}": "a", "{y}": "{y}", "": ""} {
		tm, err := Syntax{}.Text(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tm.Line([]string{"a"}, Numbers{Seq: 3}); err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
}
