package batch

import "io"

// Input is what a job reads as its standard input.
type Input interface {
	// Open begins to read it, from its start at each call: a job that is tried again reads
	// it again. Who opened it closes it.
	Open() (io.ReadCloser, error)
	// Size is how many bytes there are to read.
	Size() int64
	// Key tells its content from every other one, in this run and in later ones: a hash of it,
	// or its place in a file.
	Key() string
}
