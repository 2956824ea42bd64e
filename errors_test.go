package brood

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// rude is an error whose method panics.
type rude struct{}

// Error panics.
func (rude) Error() string { panic("rude") }

func TestErrorsThatPanic(t *testing.T) {
	err := decodeError(encodeError(rude{}))
	var p *PanicError
	if !errors.As(err, &p) || !strings.Contains(err.Error(), "rude") {
		t.Errorf("%T %v", err, err)
	}
}

// The description of an error is taken apart without a crash, whatever it is.
func FuzzDecodeError(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeError(io.EOF))
	f.Add(encodeError(&WorkerDied{PID: 1, Task: "x"}))
	f.Add(encodeError(&TimeoutError{Err: errors.Join(io.EOF, &PanicError{Value: "v"})}))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := decodeError(b)
		if err == nil {
			t.Fatal("no error at all")
		}
		_ = err.Error()
		errors.Is(err, io.EOF)
		again := decodeError(encodeError(err))
		if again == nil {
			t.Fatal("nothing came back")
		}
	})
}
