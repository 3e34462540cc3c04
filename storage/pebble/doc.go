// Package pebble is the store on one machine: storage.KV over Pebble, an
// embedded log-structured merge tree.
//
// One goroutine commits. It takes every batch that waits, checks each against
// the state before it, merges those that pass into one Pebble batch, syncs once,
// and only then answers them all. Between the write and the sync Pebble itself
// would already show the new values; therefore readers never ask the database,
// but a View: a snapshot taken after each sync. What a power cut could take back
// is never seen by anyone.
//
// Keys in Pebble:
//
//	"k" | key      revision u64, big endian | value
//	"m" | "format"    1
//	"m" | "revision"  revision u64 of the last commit; in the batch of each commit
//
// When a sync of the log or of the manifest fails, nobody knows what is on disk,
// and trying again may report success for data that is gone. The process then
// ends at once, and recovery at the next start tells what landed.
//
// What this package cannot detect: a flipped bit or a cut in the tail of the log
// looks to Pebble like a crash, and acknowledged commits are gone from the end
// without an error. The revision then is smaller than it was. Whoever opens the
// store must compare it with a revision kept elsewhere, as the trail's checkpoint
// does. Damage to tables is found when they are read, damage to the manifest when
// the store is opened.
package pebble
