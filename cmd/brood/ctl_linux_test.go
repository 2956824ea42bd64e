package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Without a PID the only batch is meant; root must say which one of others.
func TestCtlChoose(t *testing.T) {
	one, two, others := ctlSocket{pid: 11}, ctlSocket{pid: 12}, ctlSocket{pid: 13, foreign: true}
	for _, test := range []struct {
		all  []ctlSocket
		pid  int
		want int
		err  string
	}{
		{nil, 0, 0, "no batch runs"},
		{[]ctlSocket{one}, 0, 11, ""},
		{[]ctlSocket{one, others}, 0, 11, ""},
		{[]ctlSocket{others}, 0, 0, "no batch runs"},
		{[]ctlSocket{one, two}, 0, 0, "2 batches run: say which one: 11, 12"},
		{[]ctlSocket{one, two}, 12, 12, ""},
		{[]ctlSocket{one, others}, 13, 13, ""},
		{[]ctlSocket{one, two}, 14, 0, "process 14 runs no batch"},
	} {
		asked := 0
		_, err := choose(test.all, test.pid, func(s ctlSocket) (*ctlAnswer, error) {
			asked = s.pid
			return &ctlAnswer{}, nil
		})
		if asked != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("of %v, %d: asked %d, %v; want %d, %q", test.all, test.pid, asked, err, test.want, test.err)
		}
	}
	_, err := choose([]ctlSocket{one}, 0, func(ctlSocket) (*ctlAnswer, error) { return &ctlAnswer{Error: "no"}, nil })
	if err == nil || err.Error() != "ctl: no" {
		t.Errorf("a refusal is %v", err)
	}
}

// running starts a batch whose job waits until its input ends, and finds its socket.
func running(t *testing.T) (ctlSocket, func() int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self)
	cmd.Args = []string{"brood", "run", "until [ -e " + dir + "/go ]; do :; done; : {}", ":::", "a"} // see TestMain
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	end := func() int {
		if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return exit(cmd)
	}
	for {
		all, err := ctlSockets()
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(all, func(s ctlSocket) bool { return s.pid == cmd.Process.Pid }); i >= 0 {
			for {
				a, err := all[i].ask(ctlRequest{Do: "status"})
				if err != nil {
					t.Fatal(err)
				}
				if a.Status.Running == 1 {
					return all[i], end
				}
			}
		}
	}
}

// Clients that say nothing, or rubbish, or do not take their answers, are in nobody's way: others
// are answered meanwhile, and the batch ends as if they were not there.
func TestCtlRudeClients(t *testing.T) {
	s, end := running(t)
	dial := func() net.Conn {
		c, err := dialControl(s.name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range ctlClients / 2 {
		dial() // silent
	}
	for _, rubbish := range []string{"\n", "{}\n", "null\n", "[1]\n", `{"do":"format"}` + "\n", `{"do":` + "\n", strings.Repeat("x", 1<<20) + "\n", "\x00\xff\n"} {
		c := dial()
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, rubbish)
		b, err := io.ReadAll(c)
		if len(rubbish) < ctlMaxRequest && (err != nil || !bytes.HasPrefix(b, []byte(`{"error":"`))) {
			t.Errorf("%q is answered by %q, %v", rubbish, b, err)
		}
		c.Close()
	}
	a, err := s.ask(ctlRequest{Do: "status", Full: true})
	if err != nil || len(a.Status.Runs) != 1 {
		t.Errorf("the status is %+v, %v", a, err)
	}
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := s.ask(ctlRequest{Do: "status"}); !errors.Is(err, errBatchEnded) {
		t.Errorf("a batch that has ended: %v", err)
	}
}

// When there are too many clients the next one is sent away, and served when one has gone.
func TestCtlCrowd(t *testing.T) {
	s, end := running(t)
	var crowd []net.Conn
	for {
		c, err := dialControl(s.name)
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
		if _, err := s.ask(ctlRequest{Do: "status"}); err != nil {
			break
		}
		if len(crowd) > 3*ctlClients { // some who have gone may have been in the way
			t.Fatalf("%d are let in", len(crowd))
		}
	}
	for _, c := range crowd {
		c.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; {
		_, err := s.ask(ctlRequest{Do: "status"})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Many steer at once; the last resume counts, and the batch ends well.
func TestCtlMany(t *testing.T) {
	s, end := running(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				for _, do := range []string{"pause", "status", "resume"} {
					a, err := s.ask(ctlRequest{Do: do})
					if err != nil || a.Error != "" && do != "resume" {
						t.Errorf("%s: %+v, %v", do, a, err)
					}
				}
			}
		})
	}
	all.Wait()
	s.ask(ctlRequest{Do: "resume"})
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A name that somebody else has taken is passed over, on both sides.
func TestCtlTakenName(t *testing.T) {
	name := fmt.Sprintf("%s%d-1", ctlPrefix, os.Geteuid())
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all, err := ctlSockets()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(s ctlSocket) bool { return s.name == name })
	if i < 0 || all[i].pid != os.Getpid() {
		t.Errorf("a name with PID 1 of process %d: %v", os.Getpid(), all)
	}

	mine, err := net.Listen("unix", fmt.Sprintf("%s%d-%d", ctlPrefix, os.Geteuid(), os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	c := listenControl(nil, nil, nil, nil)
	c.begin.Stop() // now, and only once
	c.listen()
	defer c.stop()
	if got := c.l.Addr().String(); got != fmt.Sprintf("%s%d-%d.1", ctlPrefix, os.Geteuid(), os.Getpid()) {
		t.Errorf("it listens at %s", got)
	}
}

// Another user is not let in, also one who goes by the socket's name and asks nobody whose it is.
func TestCtlOtherUser(t *testing.T) {
	s, end := running(t)
	as := func(uid uint32, args ...string) string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args, cmd.Dir, cmd.Env = args, "/", []string{"HOME=/", "BROOD_HISTORY="}
		if uid != 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip(err) // only root can be somebody else
		}
		return string(out)
	}
	pid := fmt.Sprint(s.pid)
	if out := as(65534, "knock", s.name); !strings.HasPrefix(out, `""`) {
		t.Errorf("another user is answered: %s", out)
	}
	if out := as(0, "knock", s.name); !strings.Contains(out, "paused by brood ctl") {
		t.Errorf("the same user is answered: %s", out)
	}
	if out := as(65534, "brood", "ctl", "resume", pid); !strings.Contains(out, "runs no batch that may be steered") {
		t.Errorf("another user steers: %s", out)
	}
	if out := as(65534, "brood", "ctl"); strings.Contains(out, pid) {
		t.Errorf("another user sees it: %s", out)
	}
	if _, err := s.ask(ctlRequest{Do: "resume"}); err != nil {
		t.Error(err)
	}
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What a batch answers is no order to the terminal of who asks: the one that is asked may be
// somebody's who wants root to see something else.
func TestCtlPrintsNoOrders(t *testing.T) {
	const evil = "\x1b]0;owned\a\x9b2J\u009b2J\u202e\r\x7f"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("%s%d-evil", ctlPrefix, os.Geteuid()), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	answers := map[string]ctlAnswer{
		"pause": {Said: evil}, "drain": {Error: evil},
		"status": {Status: &ctlStatus{
			State: evil, Command: []string{evil, evil}, Why: map[string]int{evil: 1},
			Runs: []ctlRunning{
				{PID: 1, State: evil, Wait: evil, Command: evil}, {PID: 1, State: "paused", Wait: evil, Command: evil},
			},
			Waits: []ctlWaiting{{Wait: evil, Values: []string{evil}}},
		}},
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer l.Close()
	all.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			var r ctlRequest
			if json.NewDecoder(c).Decode(&r) == nil {
				json.NewEncoder(c).Encode(answers[r.Do])
			}
			c.Close()
		}
	})
	self := []string{fmt.Sprint(os.Getpid())}
	var out bytes.Buffer
	if err := ctlDo(&out, ctlRequest{Do: "pause"}, self); err != nil {
		t.Error(err)
	}
	if err := ctlList(&out, false); err != nil || !strings.Contains(out.String(), "PID") {
		t.Errorf("%v: %q", err, out.String())
	}
	status := ctlStatusCommand()
	status.SetOut(&out)
	if err := status.RunE(status, self); err != nil {
		t.Error(err)
	}
	err = ctlDo(&out, ctlRequest{Do: "drain"}, self)
	fmt.Fprintln(&out, err)
	if strings.Count(out.String(), "owned") < 12 { // they are all shown
		t.Errorf("the strings are not all there: %q", out.String())
	}
	if tame(out.String()) != out.String() {
		t.Errorf("the terminal gets %q", out.String())
	}
	if got, want := tame("a\x1b[1m\xff\tä\n\u009b\\x \"…\""), `a\x1b[1m\xff`+"\tä\n"+`\u009b\x "…"`; got != want {
		t.Errorf("tamed it is %q, want %q", got, want)
	}
}
