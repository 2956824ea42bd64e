package space

import (
	"bytes"
	"testing"
)

// Annexes are memory of their own, seen by every participant, and made-up ones are not there.
func TestAnnex(t *testing.T) {
	f := open(t, testDir(t), "annex")
	var indices []uint64
	for i, n := range []int{1, 256, 257, 4096, MaxAnnex} {
		index, err := f.Annex(n)
		if err != nil {
			t.Fatal(err)
		}
		b, ok := f.AnnexBytes(index, n)
		if !ok || len(b) != n || !bytes.Equal(b, make([]byte, n)) {
			t.Fatalf("annex of %d bytes: %v, %d bytes", n, ok, len(b))
		}
		for k := range b {
			b[k] = byte(i + 1)
		}
		indices = append(indices, index)
	}
	for i, n := range []int{1, 256, 257, 4096, MaxAnnex} {
		if b, ok := f.AnnexBytes(indices[i], n); !ok || !bytes.Equal(b, bytes.Repeat([]byte{byte(i + 1)}, n)) {
			t.Errorf("annex of %d bytes was overwritten", n)
		}
	}
	next := f.word(nextAt).Load()
	for _, made := range []struct {
		index uint64
		n     int
	}{{0, 8}, {1, 8}, {next, 8}, {next - 1, 257}, {1 << 40, 8}, {1<<64 - 1, 8}, {indices[0], 0}, {indices[0], -1}, {indices[0], MaxAnnex + 1}} {
		if _, ok := f.AnnexBytes(made.index, made.n); ok {
			t.Errorf("%d bytes at %d are there", made.n, made.index)
		}
	}
	for _, n := range []int{0, -1, MaxAnnex + 1} {
		if _, err := f.Annex(n); err == nil {
			t.Errorf("an annex of %d bytes", n)
		}
	}
}
