//go:build !linux

package batch

import "runtime"

// oneArgument is how many bytes one argument can have, with the NUL that ends it.
var oneArgument = allArguments()

// allArguments is how many bytes the arguments and the environment of a program can have
// together.
func allArguments() int {
	switch runtime.GOOS {
	case "windows":
		return 32 << 10
	case "darwin":
		return 1 << 20
	}
	return 256 << 10
}
