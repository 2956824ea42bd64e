package share

import (
	"os"
)

// long makes tests go on for longer: make long.
var long = os.Getenv("BROOD_LONG") != ""
