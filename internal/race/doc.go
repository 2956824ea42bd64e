// Package race tells the race detector of an order that it can't see.
//
// The detector watches the heap of one process. Of a lock whose words lie in memory that
// processes share it sees nothing: it would report every variable that such a lock
// guards. So each handle has a Shadow on the heap, and what acquires or releases
// the lock says so there. A shadow knows nothing of other processes, nor needs to:
// they have no variables in common. Without the race detector it does nothing.
//
// A program that is found clean says nothing of the memory which processes share.
package race
