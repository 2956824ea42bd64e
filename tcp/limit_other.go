//go:build !unix

package tcp

// descriptorLimit is unknown here, and there is none that matters.
func descriptorLimit() int { return 0 }

func descriptorOf(any) int { return -1 }
