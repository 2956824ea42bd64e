package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// console is how brood's own lines on standard error look. It is set before anything runs.
var console struct {
	quiet bool // --quiet: errors alone
	color bool // --color: also where there is no terminal
}

// colored reports whether brood's own lines have colours: on a terminal that knows them, unless
// NO_COLOR (no-color.org) has any value; and with --color: what a flag asks for here and now has
// precedence, as the colours of --color-failed, --ctag and --ctagstring have.
func colored() bool { return console.color || terminalColors() }

var terminalColors = sync.OnceValue(func() bool {
	return runtime.GOOS != "windows" && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(os.Stderr.Fd()))
})

// The colours.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	failed = "\x1b[97;41m" // white on red, as GNU parallel has it
	plain  = "\x1b[0m"
)

// jobColors are the colours of jobs in turns: those that can be read on dark and on light.
var jobColors = [...]string{"\x1b[36m", "\x1b[35m", "\x1b[33m", "\x1b[34m", "\x1b[32m", "\x1b[31m"}

// jobColor is a job's own colour.
func jobColor(seq int) string { return jobColors[(seq-1)%len(jobColors)] }

// painted is a text in a colour.
func painted(color, text string) string { return color + text + plain }

// say writes an error of brood's own to standard error, note what is no error, and inform what
// --quiet leaves out.
func say(format string, args ...any) { sayIn(red, format, args...) }

func note(format string, args ...any) { sayIn("", format, args...) }

func inform(format string, args ...any) { informIn("", format, args...) }

// informIn is inform in a colour.
func informIn(color, format string, args ...any) {
	if !console.quiet {
		sayIn(color, format, args...)
	}
}

func sayIn(color, format string, args ...any) {
	text := "brood: " + tame(fmt.Sprintf(format, args...))
	if color != "" && colored() {
		text = painted(color, text)
	}
	fmt.Fprintln(os.Stderr, text)
}

// tame is a text with what is no text in it written out, as in \x1b: values, names of files and
// errors of others are in brood's own lines, and must not be orders to the terminal. Lines stay lines.
func tame(s string) string {
	wild := func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }
	if utf8.ValidString(s) && !strings.ContainsFunc(s, wild) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		text := s[:n]
		if wild(r) || r == utf8.RuneError && n == 1 {
			text = strconv.Quote(text)
			text = text[1 : len(text)-1]
		}
		b.WriteString(text)
		s = s[n:]
	}
	return b.String()
}

// painter writes every line in a colour. No colour changes nothing.
type painter struct {
	w      io.Writer
	color  string
	inLine bool
	buf    []byte
}

// Write implements io.Writer.
func (p *painter) Write(b []byte) (int, error) {
	if p.color == "" {
		return p.w.Write(b)
	}
	p.buf = p.buf[:0]
	for line := range bytes.Lines(b) {
		if !p.inLine {
			p.buf = append(p.buf, p.color...)
		}
		text, ends := bytes.CutSuffix(line, []byte("\n"))
		p.buf = append(p.buf, text...)
		if p.inLine = !ends; ends {
			p.buf = append(append(p.buf, plain...), '\n')
		}
	}
	if _, err := p.w.Write(p.buf); err != nil {
		return 0, err
	}
	return len(b), nil
}

// end ends a last line that has no newline.
func (p *painter) end() error {
	if !p.inLine {
		return nil
	}
	_, err := io.WriteString(p.w, plain)
	return err
}
