//go:build !unix

package brood

func isSocket(int) bool { return false }
