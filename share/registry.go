package share

import (
	"fmt"
	"path/filepath"
	"sync"

	file "github.com/brood-go/brood/internal/space"
)

// registry is the named spaces that this process has open, each once.
type registry struct {
	mu   sync.Mutex
	open map[place]*space
}

// place is where a space's file is.
type place struct{ dir, name string }

var spaces registry

// get opens a space for one more user.
func (r *registry) get(o Options, name string) (*Space, error) {
	s, err := r.obtain(o, name)
	if err != nil {
		return nil, fmt.Errorf("share: open space %q: %w", name, err)
	}
	return &Space{space: s}, nil
}

func (r *registry) obtain(o Options, name string) (_ *space, err error) {
	if o.Dir == "" {
		o.Dir, err = file.Dir()
	} else {
		o.Dir, err = filepath.Abs(o.Dir)
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := place{o.Dir, name}
	if s, ok := r.open[at]; ok {
		s.opened++
		return s, nil
	}
	s := &space{name: name, options: o, opened: 1}
	if err := openStore(s); err != nil {
		return nil, err
	}
	if r.open == nil {
		r.open = make(map[place]*space)
	}
	r.open[at] = s
	return s, nil
}

// close closes a space for one of its users.
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
