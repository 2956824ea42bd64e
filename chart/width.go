package chart

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// wide are the characters that take two columns of a terminal: East Asian wide and
// emoji, by the blocks that they are in.
var wide = [][2]rune{
	{0x1100, 0x115F}, {0x2E80, 0x303E}, {0x3041, 0xA4CF}, {0xA960, 0xA97F}, {0xAC00, 0xD7A3}, {0xF900, 0xFAFF},
	{0xFE30, 0xFE6F}, {0xFF00, 0xFF60}, {0xFFE0, 0xFFE6}, {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1FAFF},
	{0x20000, 0x3FFFD},
}

// runeWidth is how many columns a printable character takes.
func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	for _, b := range wide {
		if r >= b[0] && r <= b[1] {
			return 2
		}
	}
	return 1
}

// Width is how many columns of a terminal a Clean string takes.
func Width(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// Clean makes one line of s that does nothing to a terminal: a blank for white space, a
// mark for what can't be shown or would turn the direction of writing.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || unicode.In(r, unicode.C, unicode.Zl, unicode.Zp):
			return '?'
		}
		return r
	}, s)
}

// Fit cuts a Clean string off so that it takes at most n columns, and ends it in mark.
func Fit(s string, n int, mark string) string {
	if Width(s) <= n {
		return s
	}
	n -= Width(mark)
	if n < 0 {
		return ""
	}
	used := 0
	for i, r := range s {
		if used += runeWidth(r); used > n {
			return strings.TrimRight(s[:i], " ") + mark
		}
	}
	return s
}

// pad fills a string up to n columns.
func pad(s string, n int) string { return s + strings.Repeat(" ", max(n-Width(s), 0)) }
