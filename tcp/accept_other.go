//go:build !linux

package tcp

var errAgainHere []error
