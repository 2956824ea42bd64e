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
func appendQuoted(b *strings.Builder, ctx quoting, v string) {
	switch ctx {
	case inDouble:
		for i := range len(v) {
			switch v[i] {
			case '$', '`', '"', '\\':
				b.WriteByte('\\')
			}
			b.WriteByte(v[i])
		}
	case inSingle:
		b.WriteString(strings.ReplaceAll(v, "'", `'\''`))
	case raw, inArithmetic:
		b.WriteString(v)
	default:
		b.WriteString(quote(v))
	}
}
