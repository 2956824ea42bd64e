// Package tcp serves connections: one handler, and a choice of what runs it. It is Python's
// socketserver with its mixins, and more: a crash costs one connection, and nothing is left.
//
//	var upper = tcp.NewHandler("upper", func(ctx context.Context, conn net.Conn) error { … })
//
//	func main() { brood.Main(run) }
//
//	func run(ctx context.Context) error {
//		server, err := tcp.NewServer(upper, tcp.Options{Model: tcp.Processes, MaxConns: 100})
//		if err != nil {
//			return err
//		}
//		return server.ListenAndServe(ctx, "localhost:7000")
//	}
//
// # The three models
//
//   - [Threads]: a goroutine for each connection. The fastest; a panic costs its connection, a
//     crash (SIGSEGV in C code, a concurrent map write, no memory left) the program.
//   - [Processes]: a process for each connection. The accepted socket goes to a worker of a
//     brood.ProcessPool, which serves one connection at a time, whatever becomes of it. A worker
//     goes on to the next connection, and is replaced after Options.Pool.MaxTasks of them.
//   - [Prefork]: processes that are started before and all accept from the one listener. No
//     connection passes through the parent; a crash costs the connections of that process, which
//     is one unless Options.MaxConns is larger than Options.Workers. A process that has accepted
//     Options.Pool.MaxTasks connections is replaced at once, and serves to their end those
//     that it has.
//
// The values of Serve's context are the handlers' with Threads only: what belongs to a process
// does not travel to another.
//
// # What a connection goes through
//
// It is accepted when there is room for it (Options.MaxConns); until then it waits in the
// listener's queue, in the kernel. If the handler has TLS, the handshake comes next. Then
// the handler is called, and when it returns, in whatever way, the connection is closed.
//
// When the system is out of descriptors or memory, nothing is accepted until a connection
// has ended or some time is over, from 5 ms up to a second. With Processes some descriptors are kept
// for starting processes, without which no connection would be served, and none would end.
//
// The connection that a handler gets is one of this package: it ends by the idle time, and by
// the server's end, whatever deadlines the handler sets. Keep-alive probes of the system are as
// the listener says (net.ListenConfig: every 15 s, unless told otherwise): they end a
// connection whose client is gone without a word, an idle time one whose client has no more to say.
//
// # How a server ends
//
// When the context of Serve ends, or by Shutdown, the listener is closed, and the
// connections that are served may end by themselves: the server drains. So it does when the
// listener fails or no process can be started, which is logged at once. When Options.Drain is
// over, which after Shutdown alone it never is, or by Close, the contexts of the handlers end, and
// their connections' reads and writes fail with os.ErrDeadlineExceeded. A handler that has not
// returned when the grace is over loses its process; a goroutine loses its connection, and is
// left running.
package tcp
