package tcp

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood"
)

// A crash costs the connection of that process alone, and its client learns of it at once.
func TestCrashes(t *testing.T) {
	for _, o := range []Options{{Model: Processes, MaxConns: 8}, {Model: Prefork, Workers: 4}} {
		t.Run(o.Model.String(), func(t *testing.T) {
			s := serve(t, upper, o)
			var others []*client
			for range 2 {
				c := s.dial()
				c.gets("a", "A")
				others = append(others, c)
			}
			for i := range 10 {
				s.dial().loses("crash")
				for _, c := range others {
					c.gets(fmt.Sprint("x", i), fmt.Sprint("X", i))
				}
			}
			eventually(t, "all are counted", func() bool { return s.Stats() == Stats{Accepted: 12, Active: 2, Died: 10} })
			c := s.dial()
			c.gets("b", "B")
			if !strings.Contains(s.log.String(), "killed by signal 9") {
				t.Errorf("logged: %s", s.log)
			}
		})
	}
}

// Connections are served in other processes, one at a time in each, which go on to the next ones
// until they have had MaxTasks.
func TestWhoServes(t *testing.T) {
	for _, o := range []Options{{Model: Processes, MaxConns: 4, Pool: brood.PoolOptions{MaxTasks: 3, MinWorkers: 1}}, {Model: Prefork, Workers: 1, Pool: brood.PoolOptions{MaxTasks: 3}}} {
		t.Run(o.Model.String(), func(t *testing.T) {
			s := serve(t, upper, o)
			served := map[string]int{}
			for range 12 {
				c := s.dial()
				pid, err := c.ask("pid")
				if err != nil {
					t.Fatal(err)
				}
				if o.Model == Processes {
					c.gets("strand", "TASK")
				} else {
					c.gets("strand", "THREAD") // one of that process
				}
				c.Close()
				served[pid]++
				eventually(t, "the connection is over", func() bool { return s.Stats().Active == 0 })
			}
			if served[fmt.Sprint(os.Getpid())] != 0 || len(served) < 4 {
				t.Errorf("served by %v", served)
			}
			for pid, n := range served {
				if n > 3 {
					t.Errorf("process %s had %d connections", pid, n)
				}
			}
		})
	}
	s := serve(t, upper, Options{})
	c := s.dial()
	c.gets("pid", fmt.Sprint(os.Getpid()))
	c.gets("strand", "THREAD")
	if threads := brood.ActiveThreads(); len(threads) != 1 || threads[0].Name() != "test upper "+c.LocalAddr().String() {
		t.Errorf("%d threads", len(threads))
	}
}

// secure has its certificate from the environment: it is read in each process.
var secure = NewHandler("test secure", serveUpper).TLS(func() (*tls.Config, error) {
	both := []byte(os.Getenv("BROOD_TCP_TEST_CERT"))
	cert, err := tls.X509KeyPair(both, both)
	return &tls.Config{Certificates: []tls.Certificate{cert}}, err
})

// bare has no certificate.
var bare = NewHandler("test bare", serveUpper).TLS(func() (*tls.Config, error) { return nil, errHandler })

// certify makes the certificate, once, and the pool that trusts it.
var certify = sync.OnceValues(func() (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, os.Setenv("BROOD_TCP_TEST_CERT", string(both))
})

// With TLS the handshake is made where the handler runs; a client without costs itself alone.
func TestTLS(t *testing.T) {
	pool, err := certify()
	if err != nil {
		t.Fatal(err)
	}
	onEach(t, func(t *testing.T, o Options) {
		o.IdleTimeout = time.Minute
		s := serve(t, secure, o)
		c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		plain := s.dial()
		plain.loses("hello")
		io.WriteString(c, "hello\n")
		c.CloseWrite()
		if b, err := io.ReadAll(c); err != nil || string(b) != "HELLO\n" {
			t.Errorf("%q, %v", b, err)
		}
		eventually(t, "both are over", func() bool { return s.Stats() == Stats{Accepted: 2, Failed: 1} })
		o.HandshakeTimeout = 20 * time.Millisecond
		slow := serve(t, secure, o)
		if _, err := io.Copy(io.Discard, slow.dial()); err != nil {
			t.Errorf("of a client that does not begin: %v", err)
		}
		eventually(t, "that one is over", func() bool { return slow.Stats() == Stats{Accepted: 1} })
		if err := serve(t, bare, o).ends(); !errors.Is(err, errHandler) || !strings.Contains(err.Error(), "TLS configuration") {
			t.Error(err)
		}
	})
}

// Handlers' processes are killed under load, some each second: each kill costs one connection,
// the others see nothing.
func TestKillStorm(t *testing.T) {
	for _, o := range []Options{{Model: Processes, MaxConns: 16}, {Model: Prefork, Workers: 8}} {
		t.Run(o.Model.String(), func(t *testing.T) { killStorm(t, o) })
	}
}

func killStorm(t *testing.T, o Options) {
	kills := 25
	if long {
		kills = 1500
	}
	s := serve(t, upper, o)
	var mu sync.Mutex
	killed := map[string]bool{}
	serving := map[string]bool{}
	var stop atomic.Bool
	var rounds, lost atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				lost.Add(int64(stormClient(t, s, i, &mu, serving, killed)))
				rounds.Add(1)
			}
		})
	}
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for n := 0; n < kills && !t.Failed(); {
		<-every.C
		mu.Lock()
		for pid := range serving {
			if id, _ := strconv.Atoi(pid); !killed[pid] && id > 1 && id != os.Getpid() {
				killed[pid] = true
				syscall.Kill(id, syscall.SIGKILL)
				n++
				break
			}
		}
		mu.Unlock()
	}
	stop.Store(true)
	wg.Wait()
	s.end()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
	t.Logf("%d connections, of which %d were lost with %d kills", rounds.Load(), lost.Load(), len(killed))
	if st := s.Stats(); lost.Load() > int64(len(killed)) || st.Failed+st.Panicked > 0 {
		t.Errorf("%d connections were lost with %d kills; %+v", lost.Load(), len(killed), st)
	}
}

// stormClient is one connection: it learns who serves it, and then only that one's death
// may end it. It returns 1 if it did.
func stormClient(t *testing.T, s *testServer, i int, mu *sync.Mutex, serving, killed map[string]bool) (lost int) {
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer nc.Close()
	c := &client{nc, t, bufio.NewReader(nc)}
	pid, err := c.ask("pid")
	if err != nil { // by whom it was to be served nobody knows: a process that was killed
		return 1
	}
	mu.Lock()
	serving[pid] = true
	mu.Unlock()
	for n := range 20 {
		answer, err := c.ask(fmt.Sprint("x", i, n))
		if err == nil && answer == fmt.Sprint("X", i, n) {
			continue
		}
		mu.Lock()
		if !killed[pid] || err == nil {
			t.Errorf("a connection to process %s, which nobody has killed: %q, %v", pid, answer, err)
		}
		mu.Unlock()
		lost = 1
		break
	}
	mu.Lock()
	delete(serving, pid)
	mu.Unlock()
	return lost
}

// What else is said of the processes holds.
func TestPoolOptions(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		if o.Model == Threads {
			return
		}
		o.Pool = brood.PoolOptions{Initializer: able.Bind("yes"), Memory: 256 << 20}
		s := serve(t, upper, o)
		s.dial().gets("able", "YES")
		s.dial().loses("eat")
		eventually(t, "one has died", func() bool { return s.Stats().Died > 0 && strings.Contains(s.log.String(), "out of memory") })
	})
}
