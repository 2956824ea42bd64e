//go:build !race

package gil

const raceDetector = false
