//go:build !unix

package link

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Conn is one end of a socket pair.
type Conn struct{}

// Message is a control message.
type Message struct {
	Type  Type
	Body  []byte
	Tail  []byte
	File  *os.File
	Pass  []syscall.RawConn
	Files []*os.File
	Lost  error
	Sent  func()
}

// MaxPass is how many descriptors one message may carry.
const MaxPass = 250

// Pair is not supported here.
func Pair() (*Conn, *os.File, error) { return nil, nil, errors.ErrUnsupported }

// NewConn is not supported here.
func NewConn(*os.File) (*Conn, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (c *Conn) Close() error { return nil }

// Send is not supported here.
func (c *Conn) Send(Message) error { return errors.ErrUnsupported }

// Post does nothing.
func (c *Conn) Post(Message) {}

// Receive is not supported here.
func (c *Conn) Receive() (Message, error) { return Message{}, errors.ErrUnsupported }

// Expire does nothing.
func (c *Conn) Expire(time.Duration) {}
