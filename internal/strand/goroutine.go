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

// printedLocked is 1 if the calling goroutine is locked to its thread, otherwise 0, as its stack trace
// says: "goroutine 7 [running, locked to thread]:". What stands before that varies: the whole line
// is looked at, however long.
func printedLocked() uintptr {
	for buf := make([]byte, 128); ; buf = make([]byte, 4*len(buf)) {
		n := runtime.Stack(buf, false)
		line, _, whole := bytes.Cut(buf[:n], []byte("\n"))
		if whole || n < len(buf) {
			if bytes.Contains(line, []byte("locked to thread")) {
				return 1
			}
			return 0
		}
	}
}
