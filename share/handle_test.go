package share

import (
	"encoding"
	"testing"
)

// handles are one of each kind in a space.
func handles(s *Space) map[string]encoding.BinaryMarshaler {
	l := must(s.Lock("ü <l>"))
	own := must(s.Condition("own", nil))
	return map[string]encoding.BinaryMarshaler{
		"space": s, "lock": l, "rlock": must(s.RLock("r")),
		"semaphore": must(s.Semaphore("s", 2)), "bounded semaphore": must(s.BoundedSemaphore("b", 2)),
		"event": must(s.Event("e")), "barrier": must(s.Barrier("bar", 1, nil)),
		"condition": own, "condition with a lock": must(s.Condition("of l", l)),
		"condition with a condition's lock": must(s.Condition("of own", own.Lock())),
		"a condition's lock":                own.Lock(),
	}
}

// A handle of a local space can't be sent, and the error says what to do.
func TestLocalHandles(t *testing.T) {
	for name, h := range handles(s2(t)) {
		_, err := h.MarshalBinary()
		if err == nil {
			t.Errorf("%s was sent", name)
			continue
		}
		contains(t, err, "share: send ", "local space", "use share.Open or share.New")
	}
}

// What no handle was made of is refused.
func TestUnmarshalRubbish(t *testing.T) {
	for _, data := range []string{"", "{", "null", "[]", "7", `{"Space":"../x"}`, `{"Space":".x","Kind":1}`, `{"Kind":1}`} {
		for _, h := range []encoding.BinaryUnmarshaler{new(Space), new(Lock), new(RLock), new(Semaphore), new(BoundedSemaphore), new(Event), new(Condition), new(Barrier)} {
			err := h.UnmarshalBinary([]byte(data))
			if err == nil {
				t.Errorf("%T was made of %q", h, data)
				continue
			}
			contains(t, err, "share: receive a handle: ")
		}
	}
}
