package space

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood/internal/cell"
)

// gone makes a participant disappear while a goroutine sleeps, and returns how long that
// took to wake up.
func gone(t *testing.T, f *File, id cell.ID, disappear func()) time.Duration {
	t.Helper()
	w := object(t, f).Word(9)
	woken := make(chan time.Time)
	deaths := f.Watch()
	if !f.Alive(id) {
		t.Fatalf("%x does not live", id)
	}
	go func() {
		ctx := within(t)
		for f.member.deaths.Load() == deaths { // it may wake for no reason
			if err := f.Wait(ctx, w, 0, deaths); err != nil {
				t.Error(err)
				break
			}
		}
		woken <- time.Now()
	}()
	asleep(t, f, w, 1)
	begun := time.Now()
	disappear()
	took := (<-woken).Sub(begun)
	if f.Alive(id) || f.Watch() == deaths {
		t.Errorf("%x lives: %v; %d deaths, before: %d", id, f.Alive(id), f.Watch(), deaths)
	}
	return took
}

// Every way in which a participant can end wakes a sleeper who waits for nothing else.
func TestDeaths(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "deaths")
	p := start(t, dir, "deaths")
	t.Logf("killed: %v", gone(t, f, p.id, p.kill))

	p = start(t, dir, "deaths")
	t.Logf("left: %v", gone(t, f, p.id, func() { p.do("close") }))

	p = start(t, dir, "deaths")
	t.Logf("became another program: %v", gone(t, f, p.id, func() { p.begin("exec") }))

	// A child was started, and lives on.
	p = start(t, dir, "deaths", func(cmd *exec.Cmd) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{r}
		t.Cleanup(func() { r.Close(); w.Close() })
	})
	p.do("child")
	t.Logf("killed, but not its child: %v", gone(t, f, p.id, func() { _ = p.cmd.Process.Kill() }))

	// Joined after the sleeper fell asleep.
	w, deaths, woken := object(t, f).Word(9), f.Watch(), make(chan error)
	go func() { woken <- f.Wait(within(t), w, 0, deaths) }()
	asleep(t, f, w, 1)
	start(t, dir, "deaths").kill()
	if err := <-woken; err != nil {
		t.Error(err)
	}
}

// Who joins and dies before anybody took it up may have been seen all the same.
func TestShortLife(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "short")
	for _, end := range []func(*peer){(*peer).kill, func(p *peer) { p.do("close") }} {
		deaths := f.Watch()
		f.watch.mu.Lock()
		end(start(t, dir, "short"))
		f.watch.mu.Unlock()
		if now := f.Watch(); now == deaths {
			t.Error("a participant came and went without a death")
		}
	}
}

// lockOf duplicates the descriptor that holds a peer's byte, as a child has it that was
// forked and has not called exec yet.
func lockOf(t *testing.T, p *peer) int {
	t.Helper()
	pid := p.cmd.Process.Pid
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Skipf("the system refuses a pidfd: %v", err)
	}
	defer unix.Close(pidfd)
	infos, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fdinfo", pid))
	for _, info := range infos {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, info.Name()))
		if strings.Contains(string(text), "OFDLCK") && strings.Contains(string(text), "WRITE") { // that of the bulk file is shared
			var n int
			fmt.Sscan(info.Name(), &n)
			fd, err := unix.PidfdGetfd(pidfd, n, 0)
			if err != nil {
				t.Skipf("the system refuses a descriptor of another process: %v", err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			return fd
		}
	}
	t.Fatal("the peer has no lock")
	return -1
}

// Dead is dead, although a child in the making still holds the byte.
func TestByteOutlivesProcess(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "byte")
	p := start(t, dir, "byte")
	late := start(t, dir, "byte")
	lock := lockOf(t, p)
	gone(t, f, p.id, p.kill)
	if !f.alive(p.id) {
		t.Fatal("the byte is free: the test proves nothing")
	}
	// One who comes later gets no event, but there is no such process.
	late.do("watch")
	if got := late.do(fmt.Sprint("alive ", p.id)); got != "false" {
		t.Errorf("who watches from now on believes that it lives: %s", got)
	}
	unix.Close(lock)
}

func TestForeign(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "foreign")
	p := start(t, dir, "foreign", func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
			cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		}
	})
	i := slices.IndexFunc(f.Participants(), func(q Participant) bool { return q.ID == p.id })
	if i < 0 || !f.Participants()[i].Foreign || f.Participants()[i].PID != 1 {
		t.Errorf("participants: %v", f.Participants())
	}
	t.Logf("killed: %v", gone(t, f, p.id, p.kill))
}

// TestLatency says how long it takes from a kill until a sleeper runs. Most of it is the
// kernel's, which first takes the dead process's memory apart.
func TestLatency(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "latency")
	n := 50
	if testing.Short() {
		n = 10
	}
	var all []time.Duration
	for range n {
		p := start(t, dir, "latency")
		all = append(all, gone(t, f, p.id, func() { _ = p.cmd.Process.Kill() }))
		p.kill()
	}
	slices.Sort(all)
	t.Logf("%d kills: p50 %v, p99 %v, max %v", n, all[n/2], all[n*99/100], all[n-1])
	if all[n/2] > askAll/2 {
		t.Error("the bytes tell of deaths, and not the events")
	}
}

// The lock is there as long as the membership, whatever else the process does with the file.
func TestLockStays(t *testing.T) {
	dir := testDir(t)
	f := open(t, dir, "stays")
	p := start(t, dir, "stays")
	p.do("reopen") // opens and closes the path, collects garbage
	if !f.Alive(p.id) {
		t.Error("the lock went with another descriptor")
	}
	// A child of ours does not keep our lock when we leave.
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVar+"=idle")
	cmd.Stdin = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	self := f.Self()
	f.Close()
	if got := p.do(fmt.Sprint("alive ", self)); got != "false" {
		t.Errorf("the child keeps the lock: alive %s", got)
	}
	out.Close()
	_ = cmd.Wait()
	p.do("close") // removes the file
}

// A process that watches has two goroutines, however many participants there are, and none
// after Close; and no descriptor is left.
func TestNothingRuns(t *testing.T) {
	dir := testDir(t)
	descriptors := func() int {
		d, _ := os.ReadDir("/proc/self/fd")
		return len(d)
	}
	var peers []*peer
	for range 3 {
		peers = append(peers, start(t, dir, "runs"))
	}
	open(t, dir, "first").Close() // the poller has its descriptors now
	fds, goroutines := descriptors(), runtime.NumGoroutine()
	f, err := Open(dir, "runs")
	if err != nil {
		t.Fatal(err)
	}
	if n := runtime.NumGoroutine(); n != goroutines {
		t.Errorf("without Watch %d goroutines run", n-goroutines)
	}
	f.Watch()
	if n := runtime.NumGoroutine(); n != goroutines+2 {
		t.Errorf("with Watch %d goroutines run", n-goroutines)
	}
	f.Close()
	if n := descriptors(); n != fds {
		t.Errorf("%d descriptors are left", n-fds)
	}
	for ctx := within(t); runtime.NumGoroutine() != goroutines && ctx.Err() == nil; runtime.Gosched() {
	}
	if n := runtime.NumGoroutine(); n != goroutines {
		t.Errorf("%d goroutines are left", n-goroutines)
	}
	for _, p := range peers {
		p.do("close")
	}
}

// Every other process learns of a death, too.
func TestAllLearn(t *testing.T) {
	dir := testDir(t)
	peers := make([]*peer, 4)
	for i := range peers {
		peers[i] = start(t, dir, "learn")
	}
	victim := start(t, dir, "learn")
	for _, p := range peers {
		p.begin("death")
		if got := p.answer(); got != "asleep" {
			t.Fatal(got)
		}
	}
	victim.kill()
	for _, p := range peers {
		if got := p.answer(); got != "done" {
			t.Error(got)
		}
	}
	for _, p := range peers {
		p.do("close")
	}
}

// peerWork is what peers do for the tests above.
func peerWork(f *File, o *Object, what string, n int) (answer string, err error) {
	switch what {
	case "watch":
		f.Watch()
	case "deaths":
		return fmt.Sprint(f.Watch()), nil
	case "alive":
		return fmt.Sprint(f.Alive(cell.ID(n))), nil
	case "death":
		deaths := f.Watch()
		fmt.Println("asleep")
		return "done", f.Wait(context.Background(), o.Word(9), 0, deaths)
	case "reopen":
		for range 3 {
			file, err := os.Open(f.Path())
			if err != nil {
				return "", err
			}
			_, _ = io.CopyN(io.Discard, file, 10)
			file.Close()
			runtime.GC()
		}
	case "put", "get", "trim", "limited":
		return bulkWork(f, o, what, n)
	}
	return "done", nil
}
