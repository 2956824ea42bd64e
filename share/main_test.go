package share

import (
	"fmt"
	"os"
	"testing"

	file "github.com/brood-go/brood/internal/space"
)

// long makes tests go on for longer: make long.
var long = os.Getenv("BROOD_LONG") != ""

// TestMain gives the tests a directory of spaces of their own, and looks what they leave.
func TestMain(m *testing.M) {
	playRole()
	dir, err := os.MkdirTemp("/dev/shm", "brood-share-test-")
	if err != nil {
		dir, err = os.MkdirTemp("", "brood-share-test-")
	}
	if err != nil {
		panic(err)
	}
	os.Setenv(file.DirVar, dir)
	code := m.Run()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "left in the directory of spaces: %v\n", left)
		code = max(code, 1)
	}
	os.RemoveAll(dir)
	os.Exit(code)
}
