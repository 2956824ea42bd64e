package share

import "testing"

// shared are the spaces that processes share.
var shared = []substrate{{"shared", func(t *testing.T, o Options) *Space {
	s, err := o.New()
	return closed(t, s, err)
}}}
