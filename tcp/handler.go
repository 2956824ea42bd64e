package tcp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/brood-go/brood"
)

// Handler serves one connection at a time, in whatever process. Make it with NewHandler.
type Handler struct {
	name string
	fn   func(ctx context.Context, conn net.Conn) error
	tls  func() (*tls.Config, error)

	connFunc     *brood.Func[handoff, struct{}]    // serves a connection
	listenerFunc *brood.Func[assignment, struct{}] // serves those of a listener
}

// NewHandler gives a function that serves a connection a name by which every process of
// this program knows it. It must be called at package level, as brood.NewFunc. The
// connection is closed when fn has returned; its error, but for those of a client that has
// gone, is logged. ctx ends when the server has drained for long enough: then reads and
// writes fail as well.
//
// The connection is one of this package, as the server has a hand in its deadlines. It also has
// the methods CloseRead, CloseWrite, SyscallConn and ReadFrom of the one below, which NetConn
// returns. With TLS it is a *tls.Conn above that.
func NewHandler(name string, fn func(ctx context.Context, conn net.Conn) error) *Handler {
	if fn == nil {
		panic(fmt.Sprintf("tcp: NewHandler(%q): the function is nil", name))
	}
	h := &Handler{name: name, fn: fn}
	h.connFunc = brood.NewFunc("tcp: "+name, h.serveOne)
	h.listenerFunc = brood.NewFunc("tcp: "+name+" (prefork)", h.serveMany)
	return h
}

// TLS makes the handler's connections secure: config is called once in each process that
// serves some, and once in the server's. It returns h and is called where h is made.
func (h *Handler) TLS(config func() (*tls.Config, error)) *Handler {
	h.tls = sync.OnceValues(config)
	return h
}

// Name is the name given to NewHandler.
func (h *Handler) Name() string { return h.name }

// serve serves a connection on this goroutine, and closes it. A panic is an error; that the
// client has gone is none.
func (h *Handler) serve(ctx context.Context, c *conn) (err error) {
	defer c.Close()
	defer func() {
		if v := recover(); v != nil {
			err = &brood.PanicError{Value: fmt.Sprint(v), Stack: debug.Stack(), Task: "handler " + h.name}
		}
	}()
	defer context.AfterFunc(ctx, c.cut)()
	if h.tls == nil {
		return h.call(ctx, c, c)
	}
	config, err := h.tls()
	if err != nil {
		return fmt.Errorf("tcp: the TLS configuration of handler %s: %w", h.name, err)
	}
	secure := tls.Server(c, config)
	defer secure.Close() // which says that this is the end, and nobody has cut it short
	c.met.Or(metEnd)     // which a client of TLS says in its own way
	if c.Handshake > 0 {
		c.SetDeadline(time.Now().Add(c.Handshake))
	}
	if err := secure.HandshakeContext(ctx); err != nil {
		if c.explains(ctx, err) {
			return nil
		}
		return fmt.Errorf("tcp: TLS handshake: %w", err)
	}
	c.SetDeadline(time.Time{})
	return h.call(ctx, c, secure)
}

// call calls the handler's function with what it is to get of a connection.
func (h *Handler) call(ctx context.Context, c *conn, as net.Conn) error {
	err := h.fn(ctx, as)
	if err == nil || c.explains(ctx, err) {
		return nil
	}
	return err
}
