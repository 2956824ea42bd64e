//go:build !race

package brood

const raceDetector = false
