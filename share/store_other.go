//go:build !linux

package share

import file "github.com/brood-go/brood/internal/space"

// openStore says that named spaces are not supported.
func openStore(s *space) error {
	_, err := file.Open(s.options.Dir, s.name)
	return err
}

// inspect says that named spaces are not supported.
func inspect(dir, name string) (*Info, error) {
	_, err := file.Peek(dir, name)
	return nil, err
}
