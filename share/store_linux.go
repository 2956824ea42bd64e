package share

import (
	"errors"

	"github.com/brood-go/brood/internal/cell"
	file "github.com/brood-go/brood/internal/space"
)

// fileStore keeps the objects of a named space in its file.
type fileStore struct {
	space *space
	file  *file.File
}

// openStore opens the file of a named space.
func openStore(s *space) error {
	f, err := file.Open(s.options.Dir, s.name)
	if err != nil {
		return err
	}
	s.mem, s.store = f, &fileStore{s, f}
	return nil
}

// words implements store.
func (f *fileStore) words(k kind, name string, p params) ([]cell.Word, uint64, error) {
	o, err := f.file.Object(uint8(k), name, p)
	var e *file.ParamsError
	switch {
	case errors.As(err, &e):
		return nil, 0, &ParamsError{k.describe(e.ParamsAsked), kind(e.Kind).describe(e.Params)}
	case err != nil:
		return nil, 0, err
	}
	return wordsOf(o), o.Index(), nil
}

func wordsOf(o *file.Object) []cell.Word {
	words := make([]cell.Word, objectWords)
	for i := range words {
		words[i] = o.Word(i)
	}
	return words
}

func (f *fileStore) object(index uint64) (*object, bool) {
	o, ok := f.file.At(index)
	if !ok {
		return nil, false
	}
	return &object{f.space, kind(o.Kind()), o.Name(), o.Params(), wordsOf(o), index}, true
}

func (f *fileStore) pid(id cell.ID) int {
	for _, p := range f.file.Participants() {
		if p.ID == id {
			return p.PID
		}
	}
	return 0
}

func (f *fileStore) close() error { return f.file.Close() }
