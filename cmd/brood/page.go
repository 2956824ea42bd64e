package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// page is what is to be known about a command: its --help, its man page and what a shell
// completes are made from it. A flag and its line in the page are defined by one call.
type page struct {
	command  string   // brood run
	summary  string   // in one sentence
	usage    []string // after the command's name
	sections []*section
	flags    *pflag.FlagSet
	names    map[string]string // other names of flags
}

// section is a group of flags or other terms, or a text.
type section struct {
	title string
	note  string // behind the title
	rows  []row
	text  string
	man   string // of a text: its title in the manual page
	page  *page
}

// row is one flag or one other term with what it does.
type row struct {
	flag *pflag.Flag // nil: term
	arg  string      // the flag's argument
	term string
	text string
}

func newPage(command, summary string, fl *pflag.FlagSet, usage ...string) *page {
	fl.SortFlags = false
	return &page{command: command, summary: summary, flags: fl, usage: usage}
}

// section begins a group.
func (p *page) section(title, note string) *section {
	s := &section{title: title, note: note, page: p}
	p.sections = append(p.sections, s)
	return s
}

// text adds a text. man is its title in the manual page.
func (p *page) text(man, text string) {
	p.sections = append(p.sections, &section{man: man, text: text, page: p})
}

// term is a line that is no flag.
func (s *section) term(term, text string) { s.rows = append(s.rows, row{term: term, text: text}) }

// document adds a flag's line. The usage of the flag is what a shell shows beside it.
func (s *section) document(name, arg, text string) {
	f := s.page.flags.Lookup(name)
	f.Usage = text
	s.rows = append(s.rows, row{flag: f, arg: arg, text: text})
}

// boolean, number, text, list and value define a flag and its line. Of name, "jobs,j" is
// --jobs and -j.
func (s *section) boolean(p *bool, name, text string) {
	long, short, _ := strings.Cut(name, ",")
	s.page.flags.BoolVarP(p, long, short, false, "")
	s.document(long, "", text)
}

func (s *section) number(p *int, name string, preset int, arg, text string) {
	long, short, _ := strings.Cut(name, ",")
	s.page.flags.IntVarP(p, long, short, preset, "")
	s.document(long, arg, text)
}

func (s *section) string(p *string, name, preset, arg, text string) {
	long, short, _ := strings.Cut(name, ",")
	s.page.flags.StringVarP(p, long, short, preset, "")
	s.document(long, arg, text)
}

func (s *section) list(p *[]string, name, arg, text string) {
	long, short, _ := strings.Cut(name, ",")
	s.page.flags.StringArrayVarP(p, long, short, nil, "")
	s.document(long, arg, text)
}

func (s *section) value(v pflag.Value, name, arg, text string) {
	long, short, _ := strings.Cut(name, ",")
	s.page.flags.VarP(v, long, short, "")
	s.document(long, arg, text)
}

// optional defines a flag whose argument may be left away, and is then preset.
func (s *section) optional(p *string, name, preset, arg, text string) {
	s.string(p, name, "", arg, text)
	s.page.flags.Lookup(name).NoOptDefVal = preset
}

// alias makes a flag known under other names as well.
func (p *page) alias(name string, others ...string) {
	if p.names == nil {
		p.names = make(map[string]string)
		p.flags.SetNormalizeFunc(func(_ *pflag.FlagSet, s string) pflag.NormalizedName {
			if name, ok := p.names[s]; ok {
				s = name
			}
			return pflag.NormalizedName(s)
		})
	}
	for _, o := range others {
		p.names[o] = name
	}
}

// hidden defines a flag without a line in the page. Of name, "quote,q" is --quote and -q, and "t" is
// -t. It is also known without the hyphens in its name.
func (p *page) hidden(name string, do func() error) {
	long, short, _ := strings.Cut(name, ",")
	if len(long) == 1 {
		short = long
	}
	p.flags.BoolFuncP(long, short, "", func(string) error { return do() })
	p.flags.Lookup(long).Hidden = true
	p.alias(long, strings.ReplaceAll(long, "-", ""))
}

// refuse knows a flag of GNU parallel's only to say what to use instead.
func (p *page) refuse(name, instead string) {
	long, short, both := strings.Cut(name, ",")
	said := "--" + long
	switch {
	case both:
		said = "-" + short + ", " + said
	case len(long) == 1:
		said = "-" + long
	}
	p.hidden(name, func() error { return refusal(said + " " + instead) })
}

// refusal is what is to be used instead of a flag.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

// helpOf makes the page the help of a command.
func (p *page) helpOf(cmd *cobra.Command) {
	cmd.SetHelpFunc(func(*cobra.Command, []string) {
		if _, err := fmt.Print(p.help()); err != nil {
			say("%v", err)
			os.Exit(ownError)
		}
	})
	cmd.SetUsageFunc(func(cmd *cobra.Command) error {
		fmt.Fprintln(cmd.OutOrStderr(), "usage: brood", cmd.Use)
		return nil
	})
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if r := refusal(""); errors.As(err, &r) {
			return r
		}
		return fmt.Errorf("%w (see %s --help)", err, p.command)
	})
}

// helpColumn is where the texts begin, helpWidth where they are broken.
const (
	helpColumn = 27
	helpWidth  = 90
)

// help is what --help prints: short enough to read, by groups.
func (p *page) help() string {
	var b strings.Builder
	b.WriteString(p.summary + "\n")
	for i, u := range p.usage {
		name := "\nusage: "
		if i > 0 {
			name = "       "
		}
		fmt.Fprintf(&b, "%s%s %s\n", name, p.command, u)
	}
	for _, s := range p.sections {
		b.WriteByte('\n')
		if s.title != "" {
			b.WriteString(s.title)
			if s.note != "" {
				b.WriteString(" " + s.note)
			}
			b.WriteByte('\n')
		}
		for i := range s.rows {
			s.rows[i].writeTo(&b)
		}
		b.WriteString(s.text)
	}
	return b.String()
}

// name is a row's first column: the flag with its argument, or the term.
func (r *row) name() string {
	if r.flag == nil {
		return r.term
	}
	name := "    --" + r.flag.Name
	if r.flag.Shorthand != "" {
		name = "-" + r.flag.Shorthand + ", --" + r.flag.Name
	}
	switch {
	case r.arg == "":
		return name
	case r.flag.NoOptDefVal != "":
		return name + "[=" + r.arg + "]"
	}
	return name + " " + r.arg
}

func (r *row) writeTo(b *strings.Builder) {
	line := "  " + r.name()
	if len(line) >= helpColumn {
		b.WriteString(line + "\n")
		line = ""
	}
	for i, part := range wrap(r.text, helpWidth-helpColumn) {
		if i > 0 {
			line = ""
		}
		fmt.Fprintf(b, "%-*s%s\n", helpColumn, line, part)
	}
}

// wrap breaks a text into lines.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
