//go:build !linux

package share

import file "github.com/brood-go/brood/internal/space"

// openStore says that named spaces are not supported.
func openStore(s *space) error {
	_, err := file.Open(s.options.Dir, s.name)
	return err
}

// openRegister would be called by openStore.
var _ = (*space).openRegister
