package batch

import (
	"os"
	"slices"
	"strings"
	"sync"
)

// direct returns the argument vector of a command that needs no shell, nil for
// one that does: GNU make's construct_command_argv_internal (job.c) decides in
// the same way. What a shell would do for such a command is to start it; doing
// that ourselves saves a process for each job.
func direct(text string) []string {
	var argv []string
	var word []byte
	inWord := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			if inWord {
				argv, word, inWord = append(argv, string(word)), word[:0], false
			}
		case c == '\'':
			end := strings.IndexByte(text[i+1:], '\'')
			if end < 0 {
				return nil
			}
			word, inWord = append(word, text[i+1:i+1+end]...), true
			i += end + 1
		case c == '"':
			n, w, ok := doubleQuoted(text[i+1:], word)
			if !ok {
				return nil
			}
			word, inWord = w, true
			i += n
		case c == '\\':
			if i+1 == len(text) || text[i+1] == '\n' {
				return nil
			}
			i++
			word, inWord = append(word, text[i]), true
		case needsShell[c], (c == '~' || c == '#') && !inWord, c == '=' && len(argv) == 0:
			return nil
		default:
			word, inWord = append(word, c), true
		}
	}
	if inWord {
		argv = append(argv, string(word))
	}
	if len(argv) == 0 || ofTheShell(argv[0]) {
		return nil
	}
	return argv
}

// needsShell are the characters that mean something to a shell wherever they
// stand outside of quotes. (A tilde after a colon or an equals sign is expanded
// only in assignments, which go to the shell by the latter.)
var needsShell = func() (t [256]bool) {
	for _, c := range "\n\r\x00|&;<>()$`*?[]{}!^" {
		t[c] = true
	}
	return t
}()

// doubleQuoted reads up to the closing quote; n is where that is, counted from the opening one.
func doubleQuoted(text string, word []byte) (n int, _ []byte, ok bool) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			return i + 1, word, true
		case '$', '`', 0:
			return 0, nil, false
		case '\\':
			if i+1 == len(text) || text[i+1] == '\n' {
				return 0, nil, false
			}
			if strings.IndexByte("$`\"\\", text[i+1]) >= 0 {
				i++
			}
			word = append(word, text[i])
		default:
			word = append(word, c)
		}
	}
	return 0, nil, false
}

// builtins are words that a shell does itself, differently from a program of
// that name if there is one.
var builtins = []string{
	".", ":", "[", "[[", "alias", "bg", "bind", "break", "builtin", "caller", "cd", "command", "compgen", "complete",
	"continue", "declare", "dirs", "disown", "echo", "enable", "eval", "exec", "exit", "export", "fc", "fg",
	"getopts", "hash", "help", "history", "jobs", "kill", "let", "local", "logout", "mapfile", "popd", "printf",
	"print", "pushd", "pwd", "read", "readarray", "readonly", "return", "set", "shift", "shopt", "source", "suspend", "test",
	"times", "trap", "type", "typeset", "ulimit", "umask", "unalias", "unset", "wait", "whence", "chdir", "newgrp",
}

// ofTheShell reports whether the shell would not start a program for this word.
func ofTheShell(name string) bool {
	return name == "" || reserved[name] || slices.Contains(builtins, name) || functions()[name]
}

// functions are those that bash exported to its children.
var functions = sync.OnceValue(func() map[string]bool {
	names := make(map[string]bool)
	for _, v := range os.Environ() {
		if name, ok := strings.CutPrefix(v, "BASH_FUNC_"); ok {
			name, _, _ = strings.Cut(name, "%%=")
			names[name] = true
		}
	}
	return names
})
