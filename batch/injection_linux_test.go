package batch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// evils are values that make a file if a shell runs what is in them.
var evils = []string{
	"$(touch pwned)", "`touch pwned`", "; touch pwned", "& touch pwned;", "| touch pwned", "\ntouch pwned\n", "x[$(touch pwned)]", "a[$(touch pwned)]=1",
	"1); touch pwned; (", "1)); touch pwned; ((", "'; touch pwned; '", "\"; touch pwned; \"", "1]; touch pwned; [", "}; touch pwned; {", "$((x[$(touch pwned)]))", "~/$(touch pwned)",
}

// Where a shell would run what is in a value, the template or the value is refused; it never runs.
func TestNothingInAValueRuns(t *testing.T) {
	t.Parallel()
	all := shells(t)
	for _, text := range []string{
		"echo {}", `echo "{}"`, "echo '{}'", `echo "$(echo {})"`, "x={}; echo $x", "cat < {}", "echo > /dev/null {}", "(echo {})", "( (echo {}) )", "{ echo {}; }",
		`echo "$(echo $((2*(1+(3)))) {})"`, "echo $(( (2*(1+3)) + {} ))", "echo $((2*(1+(3)))) {}", "echo $(( {} )) {}", `echo "$((1+{}))" "{}"`, "echo $(((1)+(2))) {}",
		"(( {} > 3 ))", "(( (1) > {} )) ; echo {}", "((echo {}) ; echo {})", "((echo a); echo {})", "for ((i=0;i<{};i++)); do :; done", "echo $[ {} ]", "echo $[1] {}", `echo "$[ {} ]"`, "echo $((x[{}]))",
		"a[{}]=1", "a[{}]+=1", "[[ {} -gt 3 ]]", "[[ 3 -eq {} ]]", "[[ -v {} ]]", "[[ {} == a ]]", "[[ a =~ {} ]]", "[ {} -gt 3 ]", "let x={}", "let {}", "! let {}", "if let {}; then :; fi",
		"declare {}", "declare -i n={}", "declare n={}", "typeset {}", "unset {}", "read {} < /dev/null", "printf -v {} x", "test -v {}", "[ -v {} ]", "command let {}", "{ let {}; }", "X=1 let {}",
		"export X={}; echo \"$X\"", "case {} in a) echo {};; esac", "for i in {}; do echo $i; done", "f() { echo {}; }; f", "echo ~{}", "x=~{}; echo $x", "echo a{}b{}", "{}{}", "i{} true", "case b in [{}]) ;; esac",
		"echo ) {}", "echo $(echo a) ) \"$(echo {})\"", "echo \"$(echo \"$(( 1 ))\" {})\"", "echo $(( $(echo 1) + {} ))", "echo $(( ${x:-1} + {} )) {}", `echo $(( "1" + {} ))`,
	} {
		tmpl, err := ParseTemplate([]string{text})
		if err != nil {
			continue // refused
		}
		for _, v := range evils {
			cmd, err := tmpl.Expand([]string{v}, Numbers{Seq: 1, Slot: 1})
			if err != nil {
				continue
			}
			for _, sh := range all {
				dir := t.TempDir()
				c := exec.Command(sh, "-c", cmd.Text)
				c.Dir = dir
				_ = c.Run() // it may well fail
				if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
					t.Errorf("%s ran what is in %q: the template %q gave %q", sh, v, text, cmd.Text)
				}
			}
		}
	}
}

// What is harmless is not refused, and means what it means.
func TestArithmeticAndTests(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("what is tested is bash's: ", err)
	}
	for _, tt := range []struct{ text, value, want string }{
		{"echo $((2*(1+(3)))) {}", "a b", "8 a b"},
		{"echo $(( (2*(1+3)) + {} ))", "5", "13"},
		{`echo "$(echo $((2*(1+(3)))) {})"`, "a  b", "8 a  b"},
		{`echo "$(( {} + 1 ))" {}`, "-3", "-2 -3"},
		{"(( {} > 3 )) && echo more", "4", "more"},
		{"for ((i=0;i<{};i++)); do echo $i; done", "2", "0\n1"},
		{"( (echo {}) ; echo {} )", "a", "a\na"},
		{"[[ {} == 'a b' ]] && echo same", "a b", "same"},
		{"[[ axb =~ ^{}$ ]] || echo literal", "a.b", "literal"},
		{"case b in [{}]) echo range;; *) echo literal;; esac", "a-c", "literal"},
		{"echo ~{}", "root", "~root"},
		{"x=~{}; echo $x", "+", "~+"},
		{"echo {}{}; {1} 2>&1 | head -c0", "i", "ii"},
		{"i{} 2>/dev/null; echo ran", "f", "ran"},
		{"[ {} -gt 3 ] && echo more", "4", "more"},
		{"declare n={}; echo $n", "a", "a"},
		{"x={}; echo $(( x + 1 ))", "3", "4"},
		{"read x <<< {}; echo $x", "a", "a"},
	} {
		tmpl, err := ParseTemplate([]string{tt.text})
		if err != nil {
			t.Errorf("%q was refused: %v", tt.text, err)
			continue
		}
		cmd, err := tmpl.Expand([]string{tt.value}, Numbers{Seq: 1, Slot: 1})
		if err != nil {
			t.Errorf("%q with %q: %v", tt.text, tt.value, err)
			continue
		}
		out, _ := exec.Command(bash, "-c", cmd.Text).Output()
		if got := strings.TrimSuffix(string(out), "\n"); got != tt.want {
			t.Errorf("%q with %q: %q wrote %q, want %q", tt.text, tt.value, cmd.Text, got, tt.want)
		}
	}
}
