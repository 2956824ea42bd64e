package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// typedShells are real shells, as people have them, and what makes them complete.
var typedShells = []struct{ name, shell, args, setup, needs string }{
	{name: "bash", shell: "bash", args: "--norc --noprofile -i", setup: "source <(brood completion bash)"},
	{name: "bash-completion", shell: "bash", args: "--norc --noprofile -i",
		setup: "source /usr/share/bash-completion/bash_completion; source <(brood completion bash)", needs: "/usr/share/bash-completion/bash_completion"},
	// Without this binding zsh expands the word at the cursor itself before it asks anybody.
	{name: "zsh", shell: "zsh", args: "-f -i", setup: "bindkey '^I' complete-word; autoload -Uz compinit; compinit -u -D; source <(brood completion zsh)"},
	{name: "fish", shell: "fish", args: "--no-config -i", setup: "brood completion fish | source"},
}

// hostileLines are lines on which TAB is pressed. What would be run makes a file whose name has
// "pwned" in it; the file "precious" has something in it. A line may be no good as a command: it is
// never entered.
var hostileLines = []string{
	"brood run echo hi > precious ",
	"brood run echo hi >precious --p",
	"brood run echo hi >| precious --p",
	"brood run echo hi 2>precious --pol",
	"brood run echo hi &> precious --pol",
	"brood run cat > precious",
	"brood run > precious echo -",
	"brood run --joblog=x>precious --pol",
	`brood run "echo $(touch pwned1)" `,
	`brood run "echo $(touch pwned2)" --pol`,
	"brood run echo $(touch pwned3) --pol",
	"brood run \"echo `touch pwned4`\" --pol",
	"brood run echo `touch pwned5` --pol",
	"brood run cat <(touch pwned6) --pol",
	"brood run tee >(touch pwned7) --pol",
	"brood run 'echo $(touch pwned8)' --pol",
	"brood run 'echo `touch pwned9`' --pol",
	`brood run 'a; touch pwned10; b' --pol`,
	`brood run a\;touch\ pwned11 --pol`,
	`brood run "a; touch pwned12" --pol`,
	`brood run --wd=$(touch pwned13)/`,
	`brood run --wd '$(touch pwned14)/`,
	`brood run --wd "$(touch pwned15)/`,
	`brood run --x'$(touch pwned16)'=`,
	`brood run --x$(touch pwned17)=a`,
	`brood run --policy='$(touch pwned18)`,
	`brood run --policy $(touch pwned19`,
	`brood run 'a (touch pwned20)' --pol`,
	`brood run a\(touch\ pwned21\) --pol`,
	`brood run ${x:=$(touch pwned22)} --pol`,
	`brood run '${x[$(touch pwned23)]}' --pol`,
	`brood run 'x[$(touch pwned24)]' x[$(touch pwned24)`,
	`brood history show '$(touch pwned25)' `,
	`brood run --timeout '$(touch pwned26)' --term-seq=TERM,200,`,
	"brood run $'a\\x3btouch pwned27' --pol",
	`brood run 'a' (touch pwned28) --pol`,
	`brood run --wd=\$\(touch\ pwned29\)/`,
	"brood run --wd=`touch pwned30`/",
	"brood run --wd '`touch pwned31`/",
	"brood run x $(touch pwned32)/a",
	"brood run x \"$(touch pwned33)/a",
}

// TestCompletionRunsNothing presses TAB in real shells.
func TestCompletionRunsNothing(t *testing.T) {
	path := build(t)
	for _, sh := range typedShells {
		t.Run(sh.name, func(t *testing.T) {
			shell, err := exec.LookPath(sh.shell)
			if err != nil {
				t.Skip(err)
			}
			if _, err := os.Stat(sh.needs); sh.needs != "" && err != nil {
				t.Skip(err)
			}
			dir := t.TempDir()
			const content = "kept\n"
			precious := filepath.Join(dir, "precious")
			if err := os.WriteFile(precious, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("HOME", dir)
			t.Setenv("TERM", "xterm")
			t.Setenv("LC_ALL", "C.UTF-8")
			t.Setenv("INPUTRC", "/dev/null")
			t.Setenv("HISTFILE", "/dev/null")
			t.Setenv("PATH", filepath.Dir(path)+":"+os.Getenv("PATH"))
			t.Chdir(dir)
			_, tty, s := onTerminal(t, shell, strings.Fields(sh.args)...)
			fmt.Fprintf(tty, "%s; echo rea''dy\n", sh.setup)
			s.await(t, "ready\r\n")
			for i, line := range hostileLines {
				fmt.Fprintf(tty, "%s\t\t\x15echo en''d-%d\n", line, i)
				s.await(t, fmt.Sprintf("end-%d\r\n", i))
				if found, _ := filepath.Glob(filepath.Join(dir, "*pwned*")); found != nil {
					t.Errorf("TAB after %s ran it", line)
					os.Remove(found[0])
				}
				if b, err := os.ReadFile(precious); err != nil || string(b) != content {
					t.Errorf("TAB after %s emptied the file: %q %v", line, b, err)
					os.WriteFile(precious, []byte(content), 0o600)
				}
			}
			// It completes all the same.
			for i, line := range []string{
				"brood run --policy sr\t--dry-run echo ok{}",
				"brood run --policy=sr\t--dry-run echo ok{}",
				`brood run --dry-run --tagstring '$(touch pwned)' --polic` + "\tsrpt echo ok{}",
				"brood run --dry-r\t>out echo ok{}\ncat out; : ",
				"brood run >out --dry-r\techo ok{}\ncat out; : ",
			} {
				if sh.name == "fish" && strings.Contains(line, ">out --") {
					continue // fish tells the name of the file as if it were a word
				}
				fmt.Fprintf(tty, "%s ::: %d\n", strings.Replace(line, "\n", fmt.Sprintf(" ::: %d\n", i), 1), i)
				s.await(t, fmt.Sprintf("echo ok%d\r\n", i))
			}
			fmt.Fprint(tty, "exit\n")
		})
	}
}
