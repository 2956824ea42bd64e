package batch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/brood-go/brood/internal/child"
)

// posixShells are the shells that take -c and the POSIX language, for which
// values are quoted.
var posixShells = []string{"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox"}

// DefaultShell is $PARALLEL_SHELL, else $SHELL if that is a POSIX shell, else
// /bin/sh.
func DefaultShell() string {
	if s := os.Getenv("PARALLEL_SHELL"); s != "" {
		return s
	}
	s := os.Getenv("SHELL")
	if slices.Contains(posixShells, filepath.Base(s)) && child.LookPath(s) != "" {
		return s
	}
	return "/bin/sh"
}

// programs finds programs in PATH and remembers where.
type programs struct {
	mu    sync.Mutex
	paths map[string]string
}

// find returns the file of a program; "" if there is none in PATH.
func (p *programs) find(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	path, known := p.paths[name]
	if !known {
		path = child.LookPath(name)
		if p.paths == nil {
			p.paths = make(map[string]string)
		}
		p.paths[name] = path
	}
	return path
}

// start says how to start a command: an argument vector as it is, a shell
// command that needs no shell without one (as make does), the rest through the
// shell. plain reports that the shell was left out.
func (b *Batch) start(c Command, env []string) (path string, argv []string, plain bool) {
	if len(c.Argv) > 0 {
		if path = b.programs.find(c.Argv[0]); path == "" {
			path = c.Argv[0] // the attempt gives the right error
		}
		return path, c.Argv, false
	}
	ownPath := slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	if !ownPath && !b.ownPath {
		if argv = direct(c.Text); argv != nil {
			if path = b.programs.find(argv[0]); path != "" {
				return path, argv, true
			}
		}
	}
	return b.o.Shell, b.shell(c.Text), false
}

// shell is the argument vector that gives a command to the shell. What begins
// like an option would be taken for one; a blank in front changes nothing else.
func (b *Batch) shell(text string) []string {
	if strings.HasPrefix(text, "-") || strings.HasPrefix(text, "+") {
		text = " " + text
	}
	return []string{b.o.Shell, "-c", text}
}
