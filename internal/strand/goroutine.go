package strand

import (
	"bytes"
	"runtime"
	"strconv"
)

// printed is the calling goroutine's number as its stack trace gives it:
// "goroutine 7 [running]:".
func printed() uint64 {
	var buf [64]byte
	text := buf[:runtime.Stack(buf[:], false)]
	text = bytes.TrimPrefix(text, []byte("goroutine "))
	number, _, _ := bytes.Cut(text, []byte(" "))
	id, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		panic("strand: a stack trace without the goroutine's number: " + string(text))
	}
	return id
}

// printedLocked is whether the calling goroutine is locked to its thread, as its stack trace
// says: "goroutine 7 [running, locked to thread]:".
func printedLocked() bool {
	var buf [80]byte
	line, _, _ := bytes.Cut(buf[:runtime.Stack(buf[:], false)], []byte("\n"))
	return bytes.Contains(line, []byte("locked to thread"))
}
