//go:build !linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden makes the process that holds the root key keep to itself: what it
// creates is for its own user whatever the umask was, and no core file holds its
// memory.
func harden() error {
	unix.Umask(privateUmask)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}
