package pebble

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fatalFS ends the process when a sync fails, of whatever file or folder, and
// when a log cannot be written. After a failed sync the kernel may have dropped
// the data and reports success the next time, so that there is nothing to retry;
// Pebble ends the process in some of these cases, and in others panics in its own
// goroutines or with its locks held.
type fatalFS struct {
	vfs.FS
	log logger
}

const logSuffix = ".log"

// Create creates a file.
func (f fatalFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return f.wrap(name, file, err)
}

// ReuseForWrite renames a file and opens it.
func (f fatalFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, c)
	return f.wrap(newname, file, err)
}

// OpenReadWrite opens or creates a file.
func (f fatalFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, opts...)
	return f.wrap(name, file, err)
}

// OpenDir opens a folder for syncing.
func (f fatalFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.wrap(name, file, err)
}

// Unwrap returns the file system beneath.
func (f fatalFS) Unwrap() vfs.FS { return f.FS }

func (f fatalFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	isLog := strings.HasSuffix(name, logSuffix)
	if err != nil {
		if isLog {
			f.log.Fatalf("open the log: %v", err)
		}
		return nil, err
	}
	return fatalFile{file, f.log, isLog}, nil
}

// fatalFile is a file of a fatalFS.
type fatalFile struct {
	vfs.File
	log   logger
	isLog bool
}

// Write ends the process if it fails on a log.
func (f fatalFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.check("write", err, f.isLog)
	return n, err
}

// WriteAt ends the process if it fails on a log.
func (f fatalFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := f.File.WriteAt(p, offset)
	f.check("write", err, f.isLog)
	return n, err
}

// Close ends the process if it fails on a log.
func (f fatalFile) Close() error {
	err := f.File.Close()
	f.check("close", err, f.isLog)
	return err
}

// Sync ends the process if it fails.
func (f fatalFile) Sync() error {
	err := f.File.Sync()
	f.check("sync", err, true)
	return err
}

// SyncData ends the process if it fails.
func (f fatalFile) SyncData() error {
	err := f.File.SyncData()
	f.check("sync", err, true)
	return err
}

// SyncTo ends the process if it fails.
func (f fatalFile) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	f.check("sync", err, true)
	return fullSync, err
}

func (f fatalFile) check(operation string, err error, fatal bool) {
	if err != nil && fatal {
		f.log.Fatalf("%s: %v", operation, err)
	}
}
