package share

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/brood-go/brood/internal/atexit"
	file "github.com/brood-go/brood/internal/space"
	"github.com/brood-go/brood/internal/waits"
)

// registry is the named spaces that this process has open, each once, though there may be
// several paths to one.
type registry struct {
	mu    sync.Mutex
	open  map[place]*space
	leave sync.Once // before the exit
}

// place is where a space's file is, as it was first opened.
type place struct{ dir, name string }

var spaces registry

// get opens a space for one more user.
func (r *registry) get(o Options, name string) (*Space, error) {
	s, err := r.obtain(o, name)
	if err != nil {
		return nil, fmt.Errorf("share: open space %q: %w", name, err)
	}
	return handleOf(s), nil
}

// obtain opens a space, or finds it open and counts one user more.
func (r *registry) obtain(o Options, name string) (*space, error) {
	return r.find(o, name, func(s *space) { s.opened++ })
}

// borrow opens a space for whoever was sent a handle, until the process exits, or finds it
// open for as long as it is.
func (r *registry) borrow(o Options, name string) (*space, error) {
	r.leave.Do(func() { atexit.Register(r.closeAll) })
	return r.find(o, name, func(*space) {})
}

// dir is the directory of spaces.
func (o Options) dir() (string, error) {
	if o.Dir == "" {
		return file.Dir()
	}
	return filepath.Abs(o.Dir)
}

// find finds a space open and calls again, or opens it.
func (r *registry) find(o Options, name string, again func(*space)) (_ *space, err error) {
	if o.Dir, err = o.dir(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := place{o.Dir, name}
	if s, ok := r.open[at]; ok {
		again(s)
		return s, nil
	}
	s := &space{name: name, options: o, opened: 1}
	if err := openStore(s); err != nil {
		return nil, err
	}
	if twin := r.twin(s); twin != nil {
		if err := s.store.close(); err != nil {
			return nil, err
		}
		again(twin)
		return twin, nil
	}
	if err := s.furnish(); err != nil {
		return nil, errors.Join(err, s.store.close())
	}
	if r.open == nil {
		r.open = make(map[place]*space)
	}
	r.open[at] = s
	if s.register != nil {
		waits.Enter(s)
	}
	return s, nil
}

// twin is the space that was opened by another path and is the same, in which this process takes
// part once. A link may lead to its directory.
func (r *registry) twin(s *space) *space {
	for _, t := range r.open {
		if f, ok := t.mem.(*file.File); ok && f.Same(s.mem.(*file.File)) {
			return t
		}
	}
	return nil
}

// furnish joins what the processes of a named space tell each other.
func (s *space) furnish() error {
	s.openSleepers()
	if s.options.NoDeadlockDetection {
		return nil
	}
	return s.openRegister()
}

// close closes a space for one of its users.
func (r *registry) close(s *space) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.opened--; s.opened != 0 {
		return nil
	}
	if s.name != "" {
		delete(r.open, place{s.options.Dir, s.name})
	}
	return s.shut()
}

// closeAll closes every space, because the process exits.
func (r *registry) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, s := range r.open {
		delete(r.open, at)
		s.opened = 0
		_ = s.shut() // it exits: what it leaves is swept
	}
}
