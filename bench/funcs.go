package main

import (
	"context"
	"os"

	"github.com/brood-go/brood"
)

// The functions that run in worker processes, and in goroutines.
var (
	square = brood.NewFunc("square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	echo   = brood.NewFunc("echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	pid    = brood.NewFunc("pid", func(context.Context, struct{}) (int, error) { return os.Getpid(), nil })
	grind  = brood.NewFunc("grind", func(_ context.Context, n int) (int, error) { return ground(n), nil })

	// ballast makes a worker as large as it is told, and keeps it so.
	ballast = brood.NewFunc("ballast", func(_ context.Context, size int) (int, error) {
		held = make([]byte, size)
		for i := 0; i < size; i += 4096 {
			held[i] = 1
		}
		return os.Getpid(), nil
	})

	// endless never looks at its context.
	endless = brood.NewFunc("endless", func(context.Context, struct{}) (int, error) {
		for {
		}
	})
)

var held []byte

// ground is a job of some 10 µs, whose result is the square of n.
func ground(n int) int {
	x := uint64(n) | 1
	for range 8000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 { // never: the steps above have no way to it
		return 0
	}
	return n * n
}
