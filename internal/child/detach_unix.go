//go:build unix

package child

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Detach starts this program again, with the same arguments and standard streams, as a process
// that nobody supervises: in a session of its own, which outlives this one. env is added to
// the environment; files become descriptors 3, 4, …
func Detach(env []string, files ...*os.File) error {
	cmd := &exec.Cmd{
		Path: Executable(), Args: os.Args, Env: append(os.Environ(), env...), ExtraFiles: files,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("child: start a copy of this program: %w", err)
	}
	return cmd.Process.Release()
}
