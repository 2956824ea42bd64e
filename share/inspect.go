package share

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	file "github.com/brood-go/brood/internal/space"
)

// Info is what a space looks like from outside. While it is used it may be out of date
// before it is read.
type Info struct {
	Name, Path   string
	Participants []Participant
	Objects      []ObjectInfo
}

// Participant is a process that takes part in a space.
type Participant struct {
	PID     int
	Command string    // the first 15 bytes of its name
	Joined  time.Time // by its own clock
	Foreign bool      // it runs in another pid namespace, which PID is of
}

// ObjectInfo is an object of a space.
type ObjectInfo struct {
	Kind, Name string
	State      string  // in words: "free", "1 of 5 permits free", "3 of 6 items wait", …
	Holders    []Party // who has it, or a part of it; of a queue: who has items in hand
	Waiters    []Party // who waits for it, as far as they say: up to 32 for each process
}

// Party is who has an object, or waits for it.
type Party struct {
	PID       int
	Command   string
	Goroutine uint64 // its low 32 bits; 0 if it is not known
	Count     int    // permits, items, arrivals, waiting goroutines; else 1
	Dead      bool   // it died, and nobody has taken over yet
}

// Spaces lists the names of this user's spaces, those that crashes have left included.
func Spaces() ([]string, error) { return Options{}.Spaces() }

// Spaces is Spaces with options.
func (o Options) Spaces() ([]string, error) {
	dir, err := o.dir()
	if err != nil {
		return nil, err
	}
	return file.List(dir)
}

// Inspect looks at a space from outside. Who looks does not take part in it.
func Inspect(name string) (*Info, error) { return Options{}.Inspect(name) }

// Inspect is Inspect with options.
func (o Options) Inspect(name string) (*Info, error) {
	dir, err := o.dir()
	if err != nil {
		return nil, err
	}
	info, err := inspect(dir, name)
	return info, noSpace(err, name)
}

// noSpace says of an error that there is no such space, if it means that.
func noSpace(err error, name string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("share: there is no space %q: %w", name, fs.ErrNotExist)
	}
	return err
}

// Remove removes the name of a space. While processes take part in it that is an error which
// names them, unless force is true: then they keep the space among themselves, and who opens
// the name gets a new one.
func Remove(name string, force bool) error { return Options{}.Remove(name, force) }

// Remove is Remove with options.
func (o Options) Remove(name string, force bool) error {
	dir, err := o.dir()
	if err != nil {
		return err
	}
	return noSpace(file.Remove(dir, name, force), name)
}
