package batch

import "strings"

// quote writes a value so that a POSIX shell takes it as one literal word: bare
// if every character is known to be harmless, else between single quotes.
func quote(v string) string {
	if isBare(v) {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'"
}

// quoteAll shows an argument vector as a shell would take it.
func quoteAll(argv []string) string {
	q := make([]string, len(argv))
	for i, a := range argv {
		q[i] = quote(a)
	}
	return strings.Join(q, " ")
}

// isBare reports whether v means itself wherever it stands in a command. The
// comma is missing for brace expansion, the equals sign for assignments, the
// tilde for home directories.
func isBare(v string) bool {
	if v == "" || reserved[v] {
		return false
	}
	for i := range len(v) {
		if !bare[v[i]] {
			return false
		}
	}
	return true
}

// bare holds the harmless characters.
var bare = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+" {
		t[c] = true
	}
	return t
}()

// reserved are the words that a shell takes for its grammar where a command is expected.
var reserved = map[string]bool{
	"if": true, "then": true, "else": true, "elif": true, "fi": true, "do": true, "done": true,
	"case": true, "esac": true, "while": true, "until": true, "for": true, "in": true,
	"select": true, "function": true, "time": true, "coproc": true,
}

// appendQuoted appends v so that it arrives literally in the given context.
func appendQuoted(b []byte, ctx quoting, v string) []byte {
	switch ctx {
	case inDouble:
		for i := range len(v) {
			switch v[i] {
			case '$', '`', '"', '\\':
				b = append(b, '\\')
			}
			b = append(b, v[i])
		}
		return b
	case inSingle:
		return appendSingle(b, v)
	case raw, inArithmetic:
		return append(b, v...)
	}
	if isBare(v) {
		return append(b, v...)
	}
	return append(appendSingle(append(b, '\''), v), '\'')
}

// appendSingle appends v for a place between single quotes.
func appendSingle(b []byte, v string) []byte {
	for i := range len(v) {
		if v[i] == '\'' {
			b = append(b, `'\''`...)
		} else {
			b = append(b, v[i])
		}
	}
	return b
}
