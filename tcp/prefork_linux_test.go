package tcp

import (
	"testing"
)

// A server that ends while its processes are still starting has nothing to say.
func TestStopWhileStarting(t *testing.T) {
	s := serve(t, upper, Options{Model: Prefork, Workers: 4})
	eventually(t, "four are being started", func() bool {
		s.tallies.mu.Lock()
		defer s.tallies.mu.Unlock()
		return len(s.tallies.live) == 4
	})
	s.end()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
	if log := s.log.String(); log != "" {
		t.Errorf("logged: %s", log)
	}
}
