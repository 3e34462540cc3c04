package pebble

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"strings"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heroctl/heroctl/schema/fault"
)

// manifestFS keeps a sum file beside each manifest, the list of which tables make
// up the store. Pebble takes a damaged end of it for a crash: it forgets the tables
// named there and then replays the newest log on top, so that commits in the middle
// are gone while the revision is still the newest. The sum tells the two apart: what
// it covers was synced, and no crash takes that back.
//
// A sum file is a row of entries, one after each sync of the manifest; the last
// whole one counts:
//
//	length u64, big endian | SHA-256 of that many bytes of the manifest, first 16 | CRC-32 of the entry so far
type manifestFS struct{ vfs.FS }

const (
	manifestPrefix = "MANIFEST-"
	sumSuffix      = ".sum"
	sumBytes       = 16
	entryBytes     = 8 + sumBytes + 4
)

// Create creates a file, and beside a manifest its sum file.
func (m manifestFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := m.FS.Create(name, c)
	if err != nil || !strings.HasPrefix(m.PathBase(name), manifestPrefix) {
		return file, err
	}
	sums, err := m.FS.Create(name+sumSuffix, c)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &manifestFile{File: file, sums: sums, hash: sha256.New()}, nil
}

// Remove removes a file, and with a manifest its sum file.
func (m manifestFS) Remove(name string) error {
	if err := m.FS.Remove(name); err != nil || !strings.HasPrefix(m.PathBase(name), manifestPrefix) {
		return err
	}
	_ = m.FS.Remove(name + sumSuffix) // of no use any more
	return nil
}

// Unwrap returns the file system beneath.
func (m manifestFS) Unwrap() vfs.FS { return m.FS }

// manifestFile is a manifest being written, by one goroutine at a time.
type manifestFile struct {
	vfs.File
	sums   vfs.File
	hash   hash.Hash
	length uint64
	err    error // of a write
}

// Write appends to the manifest. After a failure the sum is of no use, and no sync
// will succeed.
func (f *manifestFile) Write(p []byte) (int, error) {
	f.hash.Write(p) // first: the file system may use p as it likes
	n, err := f.File.Write(p)
	f.length += uint64(n)
	f.err = errors.Join(f.err, err)
	return n, err
}

// Sync syncs the manifest, then an entry that says what was synced.
func (f *manifestFile) Sync() error {
	if err := errors.Join(f.err, f.File.Sync()); err != nil {
		return err
	}
	entry := binary.BigEndian.AppendUint64(nil, f.length)
	entry = append(entry, f.hash.Sum(nil)[:sumBytes]...)
	entry = binary.BigEndian.AppendUint32(entry, crc32.ChecksumIEEE(entry))
	if _, err := f.sums.Write(entry); err != nil {
		return err
	}
	return f.sums.Sync()
}

// SyncData does what Sync does.
func (f *manifestFile) SyncData() error { return f.Sync() }

// Close closes both files.
func (f *manifestFile) Close() error { return errors.Join(f.File.Close(), f.sums.Close()) }

// checkManifest compares the manifest of the store in dir with its sum file.
func checkManifest(fs vfs.FS, dir string) error {
	desc, err := pdb.Peek(dir, fs)
	if err != nil {
		return openFault(err)
	}
	if !desc.Exists {
		return nil
	}
	name := fs.PathJoin(dir, fs.PathBase(desc.ManifestFilename))
	manifest, err := readAll(fs, name)
	if err != nil {
		return readFault(err)
	}
	sums, err := readAll(fs, name+sumSuffix)
	if err != nil {
		return fault.Wrap(fault.Integrity, "the store has lost the sum of its manifest; restore it from a backup", err)
	}
	if !sumHolds(sums, manifest) {
		return fault.New(fault.Integrity, "the manifest of the store is damaged; restore it from a backup")
	}
	return nil
}

// sumHolds reports whether the last whole entry of sums is that of manifest. A
// crash may have torn the entry after it, and left more of the manifest than it
// covers.
func sumHolds(sums, manifest []byte) bool {
	for end := len(sums) / entryBytes * entryBytes; end > 0; end -= entryBytes {
		entry := sums[end-entryBytes : end]
		sum, check := entry[:8+sumBytes], entry[8+sumBytes:]
		if binary.BigEndian.Uint32(check) != crc32.ChecksumIEEE(sum) {
			continue
		}
		length := binary.BigEndian.Uint64(sum)
		if length > uint64(len(manifest)) {
			return false
		}
		want := sha256.Sum256(manifest[:length])
		return bytes.Equal(sum[8:], want[:sumBytes])
	}
	return false
}

func readAll(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(f)
	return content, errors.Join(err, f.Close())
}
