package gil

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// long makes tests go on for longer: make long.
var long = os.Getenv("BROOD_LONG") != ""

// TestMain looks what goroutines the tests leave.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "%d goroutines are left:\n%s", runtime.NumGoroutine()-before, buf[:runtime.Stack(buf, true)])
			code = max(code, 1)
			break
		}
	}
	os.Exit(code)
}
