package pebble

import "time"

// Deadly makes the end of the process visible to a test: exit is called once and
// the goroutine that called it never goes on.
func (c Config) Deadly(exit func(), grace time.Duration) Config {
	c.exit, c.grace = func(int) { exit() }, grace
	return c
}
