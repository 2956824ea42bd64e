//go:build !race

package coro

const raceDetector = false
