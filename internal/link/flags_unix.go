//go:build unix && !linux

package link

const (
	sendFlags = 0 // the runtime makes EPIPE of SIGPIPE for descriptors beyond standard error
	recvFlags = 0
)
