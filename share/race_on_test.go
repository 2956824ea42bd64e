//go:build race

package share

// raceDetector is on: everything takes many times as long.
const raceDetector = true
