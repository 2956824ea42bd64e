// Package futex lets threads of several processes sleep until a word in memory
// that they share changes. Linux only; elsewhere the package is empty.
package futex
