// Package brood is multiprocessing, threading and concurrent.futures for Go:
// it runs work in goroutines and in isolated operating-system processes, and
// loses nothing when one of them is killed.
//
// This version runs commands: see package batch, and the command brood.
package brood

import "github.com/brood-go/brood/internal/child"

// Init prepares a program that starts processes through this module. It must be
// called first thing in main, and in TestMain of a test package, before
// goroutines are started: a copy of the program guards its child processes, and
// in that copy Init never returns.
//
// Init also marks every inherited file descriptor beyond standard error to be
// closed in child processes.
func Init() { child.Init() }
