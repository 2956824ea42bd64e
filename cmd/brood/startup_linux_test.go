package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// Every start of brood and of its warden runs all package initialisers: a
// dependency whose initialisers take long is noticed here. What is bounded is
// the least of some runs, because the machine may be busy with something else.
func TestInitialisers(t *testing.T) {
	const bound = 3.0 // milliseconds
	path := build(t)
	clock := regexp.MustCompile(`(?m)^init (\S+) @\S+ ms, (\S+) ms clock`)
	least, slowest := bound+1, ""
	for range 20 {
		cmd := exec.Command(path, "--version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		all := clock.FindAllSubmatch(out, -1)
		if len(all) == 0 {
			t.Fatalf("no trace of the initialisers in %s", out)
		}
		sum := 0.0
		for _, m := range all {
			ms, err := strconv.ParseFloat(string(m[2]), 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += ms
		}
		if sum < least {
			least, slowest = sum, string(out)
		}
	}
	if least > bound {
		t.Errorf("the package initialisers take %.2f ms, at most %.0f are allowed:\n%s", least, bound, slowest)
	}
}
