package segment

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const roleVar = "SEGMENT_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVar)
	if role == "" {
		code := m.Run()
		if left := leftovers(); len(left) > 0 {
			fmt.Fprintln(os.Stderr, "left behind:", left)
			code = 1
		}
		os.Exit(code)
	}
	play(role)
}

// leftovers are the segments that this process has mapped or open.
func leftovers() (all []string) {
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "memfd:segment") {
			all = append(all, line)
		}
	}
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.Contains(to, "memfd:segment") {
			all = append(all, fd+" "+to)
		}
	}
	return all
}

// play is the other process. It says on its output what it did, then waits to be killed, or
// for the end of its input.
func play(role string) {
	switch role {
	case "receive", "receive without done": // descriptor 3 is segment 1
		table := NewTable()
		if err := table.Add(1, os.NewFile(3, "segment")); err != nil {
			panic(err)
		}
		b, _ := hex.DecodeString(os.Args[1])
		r, err := ParseRef(b)
		if err != nil {
			panic(err)
		}
		payload, err := table.Bytes(context.Background(), r)
		if err != nil {
			panic(err)
		}
		sum := crc32.ChecksumIEEE(payload)
		if role == "receive" {
			table.Done(r)
		}
		fmt.Println(sum)
	case "send":
		g, err := NewStore(0).Alloc(1 << 20)
		if err != nil {
			panic(err)
		}
		for i := range g.Bytes() {
			g.Bytes()[i] = byte(i * i)
		}
		fmt.Println(g.File().Fd(), hex.EncodeToString(g.Ref().AppendTo(nil)), crc32.ChecksumIEEE(g.Bytes()))
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// run starts the other process and returns its words; kill ends it.
func run(t *testing.T, role string, f *os.File, arg string) (words []string, pid int, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], arg)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	cmd.Stderr = os.Stderr
	if f != nil {
		cmd.ExtraFiles = []*os.File{f}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Error(err)
	}
	return strings.Fields(line), cmd.Process.Pid, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		in.Close()
	}
}

func TestReceiverKilled(t *testing.T) {
	for _, role := range []string{"receive", "receive without done"} {
		s := NewStore(1 << 30)
		g := alloc(t, s, 3<<20)
		for i := range g.Bytes() {
			g.Bytes()[i] = byte(i * 7)
		}
		sum := strconv.FormatUint(uint64(crc32.ChecksumIEEE(g.Bytes())), 10)
		words, _, kill := run(t, role, g.File(), hex.EncodeToString(g.Ref().AppendTo(nil)))
		g.Handover()
		if len(words) != 1 || words[0] != sum {
			t.Errorf("%s: received %v, want %s", role, words, sum)
		}
		kill()
		s.Collect()
		if handed := s.Stats().Handed; (handed == 0) != (role == "receive") {
			t.Errorf("%s: %d segments with the receiver", role, handed)
		}
		g.Reclaim()
		if again := alloc(t, s, 3<<20); again.ID() != g.ID() {
			t.Errorf("%s: the segment is not used again", role)
		} else {
			again.Release()
		}
		s.Close()
	}
}

func TestSenderKilled(t *testing.T) {
	words, pid, kill := run(t, "send", nil, "")
	if len(words) != 3 {
		t.Fatal(words)
	}
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%s", pid, words[0]), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	kill()
	table := NewTable()
	if err := table.Add(1, f); err != nil {
		t.Fatal(err)
	}
	b, _ := hex.DecodeString(words[1])
	r, err := ParseRef(b)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := table.Bytes(t.Context(), r)
	if err != nil || strconv.FormatUint(uint64(crc32.ChecksumIEEE(payload)), 10) != words[2] {
		t.Errorf("%d bytes, %v", len(payload), err)
	}
	table.Done(r)
	table.Close()
}
