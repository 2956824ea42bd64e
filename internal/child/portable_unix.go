//go:build unix

package child

import "syscall"

func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func signalGroup(leader int, sig syscall.Signal) error { return syscall.Kill(-leader, sig) }
