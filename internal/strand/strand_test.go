package strand

import "testing"

// closable is a keeper that may be gone.
type closable struct{ closed bool }

func (c *closable) Reclaim(*Strand) (held []string, gone bool) { return []string{"it"}, c.closed }
func (c *closable) Gone() bool                                 { return c.closed }

// A strand that never ends does not keep what is gone.
func TestGoneKeepers(t *testing.T) {
	s := New(Main, "main")
	stays := new(closable)
	Holds(s, stays)
	for range 100 {
		k := new(closable)
		Holds(s, k)
		Holds(s, k)
		k.closed = true
	}
	Holds(s, stays)
	all := s.holdings.keepers
	if len(all) != 2 || all[0] != stays {
		t.Errorf("%d keepers are kept, of which 1 is not gone", len(all))
	}
	for _, k := range all[len(all):cap(all)] {
		if k != nil {
			t.Error("one that is gone can still be reached")
		}
	}
	if held := End(s); len(held) != 2 {
		t.Errorf("taken back: %v", held)
	}
}
