// Package atexit runs what has to be done before a process exits on purpose. Who starts
// something that only an exit ends registers it; who is about to exit runs it all.
package atexit

import "sync"

var registered struct {
	sync.Mutex
	all []func()
}

// Register notes f for the exit of this process. It may run while other goroutines still do.
func Register(f func()) {
	registered.Lock()
	defer registered.Unlock()
	registered.all = append(registered.all, f)
}

// Run runs what was registered, the last first, each once.
func Run() {
	registered.Lock()
	all := registered.all
	registered.all = nil
	registered.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		all[i]()
	}
}
