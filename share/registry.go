package share

import (
	"sync"
)

// registry is the named spaces that this process has open, each once.
type registry struct {
	mu   sync.Mutex
	open map[place]*space
}

// place is where a space's file is.
type place struct{ dir, name string }

var spaces registry

// close closes a space for one who opened it.
func (r *registry) close(s *space) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.opened--; s.opened > 0 {
		return nil
	}
	if s.name != "" {
		delete(r.open, place{s.options.Dir, s.name})
	}
	return s.shut()
}
