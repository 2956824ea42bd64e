//go:build race

package coro

// raceDetector is on: everything takes many times as long.
const raceDetector = true
