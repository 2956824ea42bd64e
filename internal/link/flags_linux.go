package link

import "golang.org/x/sys/unix"

const (
	sendFlags = unix.MSG_NOSIGNAL
	recvFlags = unix.MSG_CMSG_CLOEXEC
)
