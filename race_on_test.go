//go:build race

package brood

// raceDetector is on: it needs many times the memory of what a program touches.
const raceDetector = true
