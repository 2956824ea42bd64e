package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const manHelp = `Print a manual page, made from what --help prints: that of brood itself, or of one
of its commands.`

const manExamples = `  brood man run | man -l -                          read it
  brood man --dir ~/.local/share/man/man1           write all of them: then man brood-run`

// manPages makes the pages of the commands that have one.
var manPages = map[string]func(*cobra.Command) *page{
	"run": func(c *cobra.Command) *page { return new(runFlags).define(c) },
	"sem": func(c *cobra.Command) *page { return new(semFlags).define(c) },
}

func manCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:     "man [COMMAND]",
		Short:   "Print the manual page of a command, or write all of them",
		Long:    manHelp,
		Example: manExamples,
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (words []cobra.Completion, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				for _, s := range documented(c.Root()) {
					words = append(words, cobra.CompletionWithDesc(s.Name(), s.Short))
				}
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case dir != "" && len(args) > 0:
				return fmt.Errorf("man: --dir writes all pages: leave %q away", args[0])
			case c.Flags().Changed("dir") && dir == "":
				return errors.New("man: --dir is given an empty value: name a directory")
			case dir != "":
				return writeManuals(c.Root(), dir)
			}
			m := rootManual(c.Root())
			if len(args) > 0 {
				all := documented(c.Root())
				i := slices.IndexFunc(all, func(s *cobra.Command) bool { return s.Name() == args[0] })
				if i < 0 {
					return fmt.Errorf("man: there is no page of %q: brood --help lists the commands", args[0])
				}
				m = manualOf(all[i])
			}
			_, err := io.WriteString(c.OutOrStdout(), m.roff())
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "write all pages into this `DIR`, which is made")
	if err := c.RegisterFlagCompletionFunc("dir", completeDirs); err != nil {
		panic("brood: " + err.Error())
	}
	return c
}

// documented are the commands that have a page.
func documented(root *cobra.Command) (all []*cobra.Command) {
	for _, c := range root.Commands() {
		if !c.Hidden && c.Name() != "help" {
			all = append(all, c)
		}
	}
	return all
}

// writeManuals writes all pages.
func writeManuals(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("man: --dir %s: %w: name a directory that can be written", dir, cause(err))
	}
	all := []*manual{rootManual(root)}
	for _, c := range documented(root) {
		all = append(all, manualOf(c))
	}
	for _, m := range all {
		if err := os.WriteFile(filepath.Join(dir, m.name+".1"), []byte(m.roff()), 0o666); err != nil {
			return fmt.Errorf("man: %w", err)
		}
	}
	return nil
}

// manual is a manual page.
type manual struct {
	name, summary string
	synopsis      []string // without the name
	parts         []manPart
	also          []string
}

// manPart is a section or, within OPTIONS, a group.
type manPart struct {
	title string
	sub   bool
	text  string
	rows  []row
	of    []manCommandPart // of commands, behind the rows
}

// manCommandPart is a command below one that has a page.
type manCommandPart struct {
	row
	flags []row
	long  string
}

const ownExit = "0 if all is well, 255 for an error."

// rootManual is the page of brood.
func rootManual(root *cobra.Command) *manual {
	m := &manual{name: "brood", summary: root.Short, synopsis: []string{"COMMAND [argument ...]", "--version"}}
	commands := manPart{title: "COMMANDS"}
	for _, c := range documented(root) {
		commands.rows = append(commands.rows, row{term: c.Name(), text: c.Short + "."})
		m.also = append(m.also, "brood-"+c.Name())
	}
	m.parts = []manPart{commands, {title: "ENVIRONMENT", rows: environment}, {title: "EXIT STATUS", text: "That of the command's page, and 255 for an error of brood's own."}}
	return m
}

// environment are the variables that brood reads.
var environment = []row{
	{term: "BROOD_HISTORY", text: "the file of what jobs cost (see brood history); set to nothing: none is kept"},
	{term: "BROOD_SPACE_DIR", text: "the directory of spaces, which brood sem uses, too (/dev/shm/brood-UID)"},
	{term: "BROOD_NO_CGROUP", text: "1: jobs are not put into cgroups"},
	{term: "NO_COLOR", text: "set to anything: no colours, except those that --color, --color-failed, --ctag or --ctagstring ask for"},
	{term: "SHELL", text: "what runs the commands that need a shell"},
}

// manualOf is the page of a command.
func manualOf(c *cobra.Command) *manual {
	m := &manual{name: "brood-" + c.Name(), summary: c.Short, also: []string{"brood"}}
	for _, o := range documented(c.Root()) {
		if o != c {
			m.also = append(m.also, "brood-"+o.Name())
		}
	}
	switch c.Name() {
	case "run":
		m.also = append(m.also, "parallel", "xargs")
	case "sem":
		m.also = append(m.also, "sem", "flock")
	}
	if of := manPages[c.Name()]; of != nil {
		m.fromPage(of(&cobra.Command{}))
	} else {
		m.fromCommand(c)
	}
	return m
}

// fromPage takes over what --help is made from.
func (m *manual) fromPage(p *page) {
	m.summary, m.synopsis = strings.TrimSuffix(p.summary, "."), p.usage
	options := []manPart{{title: "OPTIONS"}}
	var rest []manPart
	for _, s := range p.sections {
		if s.man != "" {
			rest = append(rest, manPart{title: s.man, text: strings.TrimPrefix(s.text, "Examples\n")})
			continue
		}
		title := strings.TrimSuffix(strings.TrimSpace(s.title+" "+s.note), ",")
		options = append(options, manPart{title: title, sub: true, text: s.text, rows: s.rows})
	}
	m.parts = append(options, rest...)
}

// fromCommand takes over what cobra's help is made from.
func (m *manual) fromCommand(c *cobra.Command) {
	if c.Name() == "sim" { // it has a text of its own
		m.synopsis = []string{"[flags]"}
		_, text, _ := strings.Cut(simHelp, "[flags]\n\n")
		m.parts = []manPart{{title: "DESCRIPTION", text: indented(text)}, {title: "EXIT STATUS", text: ownExit}}
		return
	}
	path := c.Root().Name() + " " + c.Name()
	var commands []manCommandPart
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Runnable() {
			m.synopsis = append(m.synopsis, strings.TrimSpace(strings.TrimPrefix(c.UseLine(), path)))
		}
		for _, s := range c.Commands() {
			if s.Name() == "help" {
				continue
			}
			term := strings.TrimPrefix(s.CommandPath(), path+" ") + strings.TrimPrefix(s.Use, s.Name())
			commands = append(commands, manCommandPart{row{term: term, text: s.Short + "."}, flagRows(s), s.Long})
			visit(s)
		}
	}
	visit(c)
	m.parts = []manPart{{title: "DESCRIPTION", text: cmp.Or(c.Long, c.Short+".")}}
	if rows := flagRows(c); len(rows) > 0 {
		m.parts = append(m.parts, manPart{title: "OPTIONS", rows: rows})
	}
	if len(commands) > 0 {
		m.parts = append(m.parts, manPart{title: "COMMANDS", of: commands})
	}
	m.parts = append(m.parts, manPart{title: "EXIT STATUS", text: ownExit})
	if c.Example != "" {
		m.parts = append(m.parts, manPart{title: "EXAMPLES", text: c.Example})
	}
}

// flagRows are a command's own flags.
func flagRows(c *cobra.Command) (rows []row) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			arg, text := pflag.UnquoteUsage(f)
			rows = append(rows, row{flag: f, arg: arg, text: text})
		}
	})
	return rows
}

// indented makes every line one that is not filled.
func indented(text string) string {
	return "  " + strings.TrimSuffix(strings.ReplaceAll(text, "\n", "\n  "), "  ")
}

// roff is the page in the language of man. What it has to say is not much: titles, paragraphs,
// terms with their texts, and lines that stay as they are.
func (m *manual) roff() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"brood %s\" \"brood\"\n", strings.ToUpper(roffText(m.name)), roffText(version()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", roffText(m.name), roffText(m.summary))
	for i, s := range m.synopsis {
		if i > 0 {
			b.WriteString(".br\n")
		}
		fmt.Fprintf(&b, ".B %s\n", roffText(strings.Replace(m.name, "-", " ", 1)))
		if s != "" {
			b.WriteString(roffLine(s) + "\n")
		}
	}
	for _, p := range m.parts {
		if p.sub {
			if p.title != "" {
				fmt.Fprintf(&b, ".SS \"%s\"\n", roffText(p.title))
			}
		} else {
			fmt.Fprintf(&b, ".SH \"%s\"\n", roffText(p.title))
		}
		roffRows(&b, p.rows)
		for _, c := range p.of {
			roffRows(&b, []row{c.row})
			b.WriteString(".RS\n")
			roffParagraphs(&b, c.long)
			roffRows(&b, c.flags)
			b.WriteString(".RE\n")
		}
		roffParagraphs(&b, p.text)
	}
	b.WriteString(".SH \"SEE ALSO\"\n")
	for i, name := range m.also {
		comma := ","
		if i == len(m.also)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, ".BR %s (1)%s\n", roffText(name), comma)
	}
	return b.String()
}

// roffRows writes terms with their texts.
func roffRows(b *strings.Builder, rows []row) {
	for _, r := range rows {
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roffText(strings.TrimSpace(r.name())), roffLine(r.text))
	}
}

// roffParagraphs writes a text: what is indented stays as it is.
func roffParagraphs(b *strings.Builder, text string) {
	for i, part := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if part == "" {
			continue
		}
		if i > 0 {
			b.WriteString(".PP\n")
		}
		filled := true
		for line := range strings.Lines(part) {
			line = strings.TrimRight(line, "\n")
			if keep := strings.HasPrefix(line, "  "); keep == filled {
				filled = !keep
				b.WriteString(map[bool]string{true: ".fi\n", false: ".nf\n"}[filled])
			}
			b.WriteString(roffLine(line) + "\n")
		}
		if !filled {
			b.WriteString(".fi\n")
		}
	}
}

// roffLine is a line of text: one that begins like a request is none.
func roffLine(s string) string {
	s = roffText(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "\\(aq") {
		return "\\&" + s
	}
	return s
}

// roffText is text in which every character means itself.
func roffText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch r {
		case '\\':
			b.WriteString(`\e`)
		case '-':
			b.WriteString(`\-`)
		case '\'':
			b.WriteString(`\(aq`)
		case '`':
			b.WriteString(`\(ga`)
		case '^':
			b.WriteString(`\(ha`)
		case '~':
			b.WriteString(`\(ti`)
		case '"':
			b.WriteString(`\(dq`)
		default:
			if r > '~' {
				fmt.Fprintf(&b, `\[u%04X]`, r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}
