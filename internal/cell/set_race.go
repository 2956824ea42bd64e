//go:build race

package cell

// Set writes a word of which only the holder of a latch, or the maker of what nobody can see
// yet, has any business. Here it is a Store: to those who look without the latch a
// plain write would be a race.
func (w Word) Set(v uint64) { w.Store(v) }
