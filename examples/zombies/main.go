// The chapter "zombies". A process that has ended keeps its entry in the system's
// table, in state Z, until its parent has asked how it ended; an orphan is a process
// whose parent is gone. Brood reaps its children at once, joined or not, and when a
// parent is killed its children end.
//
// Python: a Process that nobody joins is a zombie until the next start or call of
// active_children(), and what a killed parent leaves behind runs on. Here: neither.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/brood-go/brood"
)

var nothing = brood.NewFunc("nothing", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })

// forever says who it is, and never returns.
var forever = brood.NewFunc("forever", func(context.Context, struct{}) (struct{}, error) {
	fmt.Println(os.Getpid())
	select {}
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	starts := 1000
	if len(os.Args) > 1 {
		if os.Args[1] == "parent" {
			return parent(ctx)
		}
		starts, _ = strconv.Atoi(os.Args[1])
	}
	return errors.Join(unreaped(), reaped(ctx, starts), orphans())
}

// unreaped starts a command the bare way, and asks for its end late.
func unreaped() error {
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		return err
	}
	for state(p.Pid) != "Z" {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("a bare child that has ended: state", state(p.Pid))
	_, err = p.Wait()
	fmt.Println("the same after Wait: state", state(p.Pid))
	return err
}

// reaped starts processes with brood, joins none, and looks at them when all have ended.
func reaped(ctx context.Context, starts int) error {
	var pids []int
	for range starts {
		p, err := nothing.Start(ctx, struct{}{}, brood.ProcessOptions{})
		if err != nil {
			return err
		}
		if _, err := p.Result(ctx); err != nil {
			return err
		}
		pids = append(pids, p.PID())
	}
	for len(brood.ActiveChildren()) > 0 {
		time.Sleep(time.Millisecond)
	}
	zombies := 0
	for _, pid := range pids {
		if state(pid) == "Z" {
			zombies++
		}
	}
	fmt.Println("brood's children:", starts, "started,", zombies, "zombies")
	return nil
}

// orphans starts this program once more, as the parent of three, and kills it.
func orphans() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p, err := os.StartProcess("/proc/self/exe", []string{os.Args[0], "parent"}, &os.ProcAttr{Files: []*os.File{nil, w, os.Stderr}})
	w.Close()
	if err != nil {
		return err
	}
	var pids []int
	for lines := bufio.NewScanner(r); len(pids) < 3 && lines.Scan(); {
		pid, _ := strconv.Atoi(lines.Text())
		pids = append(pids, pid)
	}
	p.Kill() // SIGKILL: it can do nothing more for its children
	p.Wait()
	killed := time.Now()
	left := len(pids)
	for left > 0 && time.Since(killed) < 5*time.Second {
		time.Sleep(time.Millisecond)
		left = 0
		for _, pid := range pids {
			if s := state(pid); s != "none" && s != "Z" { // to reap a strange orphan is the system's task
				left++
			}
		}
	}
	fmt.Println("children of a killed parent:", len(pids), "before,", left, "left after", time.Since(killed).Milliseconds(), "ms")
	return nil
}

// parent starts three children and waits for its end.
func parent(ctx context.Context) error {
	for range 3 {
		if _, err := forever.Start(ctx, struct{}{}, brood.ProcessOptions{}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// state is a letter of the system's table: R runs, S sleeps, Z is a zombie.
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "none"
	}
	_, fields, _ := strings.Cut(string(b), ") ") // behind the command's name
	return fields[:1]
}
