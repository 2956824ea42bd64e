package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/brood-go/brood/sched"
	"github.com/brood-go/brood/share"
)

const completionHelp = `Print what makes a shell complete the commands, flags and values of brood.

  bash   source <(brood completion bash)          in ~/.bashrc
  zsh    source <(brood completion zsh)           in ~/.zshrc, after compinit
  fish   brood completion fish | source           in ~/.config/fish/config.fish

Nothing that is on the line is run or expanded to complete it: $(…) stays as it is, and
no file of a > is opened. In bash there are no completions of brood after an open or
closed $(…), ` + "`…`" + ` or <(…) that is not in single quotes; variables are not expanded.
zsh itself expands the $(…) that the cursor is at on TAB, of any command, before it asks
for completions: bindkey '^I' complete-word switches that off.`

// completionShells are the shells, with what makes the text for them.
var completionShells = map[string]func(root *cobra.Command, w io.Writer) error{
	"bash": func(_ *cobra.Command, w io.Writer) error { return writeText(w, bashCompletion) },
	"zsh":  func(_ *cobra.Command, w io.Writer) error { return writeText(w, zshCompletion) },
	"fish": writeFish,
}

func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print what makes a shell complete brood's commands and flags",
		Long:      completionHelp,
		ValidArgs: shells,
		Args:      cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			write, ok := completionShells[args[0]]
			if !ok {
				return fmt.Errorf("completion: %q is no shell that is known: use %s", args[0], strings.Join(shells, ", "))
			}
			return write(c.Root(), c.OutOrStdout())
		},
	}
}

// completeFlags says what the flags of a page take: files, directories, some words, or what
// nobody can know.
func (p *page) completeFlags(cmd *cobra.Command, known map[string]cobra.CompletionFunc) {
	for _, s := range p.sections {
		for _, r := range s.rows {
			if r.flag == nil || r.arg == "" || r.arg == "FILE" {
				continue
			}
			f := known[r.flag.Name]
			switch {
			case f != nil:
			case r.arg == "DIR":
				f = completeDirs
			default:
				f = cobra.NoFileCompletions
			}
			if err := cmd.RegisterFlagCompletionFunc(r.flag.Name, f); err != nil {
				panic("brood: " + err.Error()) // of a flag that is not there, or twice
			}
		}
	}
}

func completeDirs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// runValues are what flags of brood run take.
var runValues = map[string]cobra.CompletionFunc{
	"policy":   cobra.FixedCompletions(sched.Names, cobra.ShellCompDirectiveNoFileComp),
	"halt":     cobra.FixedCompletions([]string{"never", "now,fail=1", "now,success=1", "now,done=1", "soon,fail=1", "soon,success=1", "soon,done=1"}, cobra.ShellCompDirectiveNoFileComp),
	"jobs":     cobra.FixedCompletions([]string{"1", "100%", "0", "+0"}, cobra.ShellCompDirectiveNoFileComp),
	"term-seq": completeSignals,
	"env":      completeVariables,
}

// completeSignals completes the last signal of a stop sequence.
func completeSignals(_ *cobra.Command, _ []string, word string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
	done := word[:strings.LastIndexByte(word, ',')+1]
	if strings.Count(done, ",")%2 == 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp // milliseconds
	}
	for name := range signalNames {
		words = append(words, done+name)
	}
	slices.Sort(words)
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeVariables completes the name of a variable of the environment.
func completeVariables(*cobra.Command, []string, string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		words = append(words, name)
	}
	slices.Sort(words)
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeCommand completes a command and its arguments: a program of PATH, then files.
func completeCommand(_ *cobra.Command, args []string, word string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 || strings.ContainsRune(word, '/') {
		return nil, cobra.ShellCompDirectiveDefault
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), word) {
				continue
			}
			fi, err := os.Stat(filepath.Join(dir, e.Name()))
			if err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != fs.FileMode(0) {
				words = append(words, e.Name())
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words), cobra.ShellCompDirectiveDefault // of none: files
}

// completeSpaces completes names of spaces: one, or any number.
func completeSpaces(many bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !many {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, _ := share.Spaces()
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeHistory completes the number of a command in the history.
func completeHistory(_ *cobra.Command, args []string, _ string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
	_, groups, _ := readHistory()
	for i, g := range groups {
		if n := strconv.Itoa(i + 1); !slices.Contains(args, n) {
			words = append(words, cobra.CompletionWithDesc(n, harmless(g.Text)))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeSim says what the flags of brood sim take.
func completeSim(cmd *cobra.Command) {
	files := []string{"workload", "svg", "trace"}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if _, rest, ok := strings.Cut(simHelp, "--"+f.Name+" "); ok { // what it says is in the help alone
			line, _, _ := strings.Cut(rest, "\n")
			_, f.Usage, _ = strings.Cut(line, "  ")
			f.Usage = strings.TrimSpace(f.Usage)
		}
		complete := cobra.CompletionFunc(cobra.NoFileCompletions)
		switch {
		case slices.Contains(files, f.Name):
			return
		case f.Name == "policy":
			complete = completeList(sched.Names)
		case f.Name == "expect":
			complete = cobra.FixedCompletions([]string{"exact", "given", "nothing"}, cobra.ShellCompDirectiveNoFileComp)
		}
		if err := cmd.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
			panic("brood: " + err.Error())
		}
	})
	cmd.ValidArgsFunction = cobra.NoFileCompletions
}

// completeList completes the last one of several words with commas between.
func completeList(all []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, word string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
		done := word[:strings.LastIndexByte(word, ',')+1]
		for _, w := range all {
			words = append(words, done+w)
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}
