package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden makes the process that holds the root key keep to itself: what it
// creates is for its own user whatever the umask was, no core file holds its
// memory, and no other process of the same user can attach to it or read its
// memory and environment.
func harden() error {
	unix.Umask(privateUmask)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid reading the process' memory: %w", err)
	}
	return nil
}
