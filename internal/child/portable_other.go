//go:build !unix

package child

import (
	"os"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr { return nil }

// signalGroup can but end the leader here.
func signalGroup(leader int, sig syscall.Signal) error {
	if sig != syscall.SIGKILL {
		return errPlatform
	}
	p, err := os.FindProcess(leader)
	if err != nil {
		return err
	}
	return p.Kill()
}
