// The chapter "echo_server". A TCP server that sends back what it gets, in upper case, to many
// clients at once. One handler, and three ways to run it: a goroutine for each connection, a
// process for each, and processes that were started before and share the listener. Clients that
// vanish in the middle of a word hurt nobody.
//
// Python: socketserver.StreamRequestHandler under ThreadingTCPServer and ForkingTCPServer; it
// has no server with processes that are started before. Here: tcp.NewHandler, tcp.NewServer.
package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/tcp"
)

const clients, vanishing = 200, 20

// upper serves one connection: it says which process it runs in, and then answers each line.
var upper = tcp.NewHandler("upper", func(_ context.Context, conn net.Conn) error {
	fmt.Fprintln(conn, os.Getpid())
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := fmt.Fprintln(conn, strings.ToUpper(lines.Text())); err != nil {
			return err
		}
	}
	return lines.Err()
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	fmt.Println("we are process", os.Getpid())
	for _, o := range []tcp.Options{
		{Model: tcp.Threads},
		{Model: tcp.Processes, MaxConns: 16},            // at once; others wait in the listener's queue
		{Model: tcp.Prefork, Workers: 4, MaxConns: 200}, // 50 in each process
	} {
		if err := serve(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// serve lets a server serve all clients.
func serve(ctx context.Context, o tcp.Options) error {
	server, err := tcp.NewServer(upper, o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	serving := brood.Go(ctx, brood.ThreadOptions{Name: "server"}, func(ctx context.Context) error {
		return server.Serve(ctx, listener)
	})
	if err := visit(ctx, o.Model, listener.Addr().String()); err != nil {
		return err
	}
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	if err := serving.Join(ctx); err != nil {
		return err
	}
	s := server.Stats()
	fmt.Printf("%v: %d connections, of which failed %d, panicked %d, died %d\n", o.Model, s.Accepted, s.Failed, s.Panicked, s.Died)
	return nil
}

// visit has all clients connect, then all of them send, and each look at what it gets.
func visit(ctx context.Context, model tcp.Model, address string) error {
	var conns []net.Conn
	for range clients + vanishing {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	var own atomic.Int64
	var served sync.Map // by which processes
	group := brood.NewGroup(ctx)
	for i, conn := range conns {
		group.Go(brood.ThreadOptions{Name: fmt.Sprint("client ", i)}, func(context.Context) error {
			if i%11 == 0 {
				return vanish(conn)
			}
			text := fmt.Sprintf("this is client %d", i)
			pid, answer, err := ask(conn, text)
			if answer == strings.ToUpper(text) {
				own.Add(1)
			}
			served.Store(pid, true)
			return err
		})
	}
	if err := group.Wait(ctx); err != nil {
		return err
	}
	processes := 0
	served.Range(func(any, any) bool { processes++; return true })
	_, ours := served.Load(fmt.Sprint(os.Getpid()))
	fmt.Printf("%v: %d of %d clients got their own text, %d vanished\n", model, own.Load(), clients, vanishing)
	fmt.Printf("%v: they were served by this process: %v, processes in all: %d\n", model, ours, processes)
	return nil
}

// ask sends a line, and reads who serves us and what is answered.
func ask(conn net.Conn, text string) (pid, answer string, err error) {
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, text); err != nil {
		return "", "", err
	}
	lines := bufio.NewScanner(conn)
	for _, line := range []*string{&pid, &answer} {
		if !lines.Scan() {
			return "", "", cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
		}
		*line = lines.Text()
	}
	return pid, answer, nil
}

// vanish sends half a line, and resets the connection.
func vanish(conn net.Conn) error {
	if _, err := io.WriteString(conn, "this is cli"); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	return conn.Close()
}
