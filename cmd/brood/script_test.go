package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brood-go/brood"
)

func TestMain(m *testing.M) {
	brood.Init() // the scripts' brood is this test binary, and so is its warden
	testscript.Main(m, map[string]func(){"brood": main})
}

// TestScript runs the command as people do. Each script leaves the directory
// for temporary files as empty as it found it.
func TestScript(t *testing.T) {
	// Under nohup what the scripts start would ignore HUP. What is caught here is not
	// ignored there.
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangUp) })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			tmp := filepath.Join(e.WorkDir, ".tmp")
			e.Setenv("TMPDIR", tmp)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("LC_ALL", "C")
			e.Setenv("SHELL", "/bin/sh")
			e.Defer(func() {
				left, err := os.ReadDir(tmp)
				if err != nil || len(left) > 0 {
					t.Errorf("left in TMPDIR: %v %v", left, err)
				}
			})
			return os.MkdirAll(tmp, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lines": countLines,
		},
	})
}

// countLines is the script command "lines N FILE": the file has N lines.
func countLines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: lines N FILE")
	}
	n := 0
	for _, c := range ts.ReadFile(args[1]) {
		if c == '\n' {
			n++
		}
	}
	if args[0] != strconv.Itoa(n) {
		ts.Fatalf("%s has %d lines, want %s", args[1], n, args[0])
	}
}
