// Package shm is memory that processes share: a sealed memfd, mapped ([Memory]). It has no
// name anywhere, so nothing is left when its last descriptor and mapping go. Beside
// it are files that do have a name, their locks and mappings ([File], [Window]): what they
// are used for, and what that relies on, is the business of internal/space.
// Linux only; elsewhere the package is empty.
//
// # Trust
//
// The seals keep a peer from changing the size, so no access inside a mapping is
// outside the file. Storage is allocated before it is mapped, so that a lack of
// memory is an error of Create and not a SIGBUS at a later store. A peer may still
// punch holes, which read as zeros, and write whatever it likes, which the users of
// the bytes have to check.
package shm
