package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/heroctl/heroctl/schema/fault"
)

// A key file is one line:
//
//	HEROKEY1 <id> <base64 of the key> <first 4 bytes of the SHA-256 of what is before, in hex>
const (
	keyFileMagic = "HEROKEY1"
	keyFileMode  = 0o600
	maxKeyFile   = 256
)

// WriteKeyFile writes k to a new file of mode 0600, whatever the umask, and
// returns once file and directory entry are on disk. A file already there is
// left alone: fault.Conflict.
func WriteKeyFile(path string, k RootKey) error {
	if k.isZero() {
		return fault.New(fault.Sealed, "there is no root key")
	}
	if err := checkParent(path); err != nil {
		return keyFileError(path, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, keyFileMode)
	if err != nil {
		return keyFileError(path, createFault(err))
	}
	if err := fillKeyFile(f, k); err != nil {
		_ = os.Remove(path)
		return keyFileError(path, fault.Wrap(fault.Unavailable, "the key file could not be written", err))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return keyFileError(path, fault.Wrap(fault.Unavailable, "the folder of the key file could not be synced", err))
	}
	return nil
}

// fillKeyFile writes, syncs and closes f.
func fillKeyFile(f *os.File, k RootKey) error {
	var err error
	k.key.Expose(func(key []byte) {
		line := encodeKeyFile(k.ID(), key)
		_, err = f.Write(line)
		clear(line)
	})
	return errors.Join(err, f.Chmod(keyFileMode), f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadKeyFile reads a key file, and refuses one that someone else could have
// read, planted or exchanged. The error is of kind fault.Sealed, or
// fault.NotFound if there is no such file; its detail names the reason and what
// to do.
func ReadKeyFile(path string) (RootKey, error) {
	if err := checkParent(path); err != nil {
		return RootKey{}, keyFileError(path, err)
	}
	// O_NONBLOCK: opening a FIFO must not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return RootKey{}, keyFileError(path, openFault(err))
	}
	defer f.Close()
	// The checks are made on the open file, so that what is checked is what is
	// read.
	if err := checkKeyFile(f); err != nil {
		return RootKey{}, keyFileError(path, err)
	}
	line, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	defer clear(line)
	if err != nil {
		return RootKey{}, keyFileError(path, fault.Wrap(fault.Sealed, "the key file cannot be read", err))
	}
	k, err := decodeKeyFile(line)
	if err != nil {
		return RootKey{}, keyFileError(path, err)
	}
	return k, nil
}

func keyFileError(path string, err error) error { return fmt.Errorf("key file %s: %w", path, err) }

func createFault(err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return fault.New(fault.Conflict, "there is a file already; a key file is never overwritten")
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.FailedCheck, "no permission to create the key file", err)
	}
	return fault.Wrap(fault.Unavailable, "the key file could not be created", err)
}

func openFault(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "there is no key file; restore it, or initialise a new cluster")
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Sealed, "no permission to read the key file; run the server as its owner", err)
	case errors.Is(err, syscall.ELOOP):
		return fault.New(fault.Sealed, "the key file is a symbolic link; give the path of the file itself")
	}
	return fault.Wrap(fault.Sealed, "the key file cannot be opened", err)
}

// checkKeyFile refuses files that others could read or have put there.
func checkKeyFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fault.Wrap(fault.Sealed, "the key file cannot be examined", err)
	}
	if !info.Mode().IsRegular() {
		return fault.Newf(fault.Sealed, "the key file is %s; it must be a regular file", kindOfFile(info.Mode()))
	}
	if info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)&^keyFileMode != 0 {
		return fault.Newf(fault.Sealed, "the key file has mode %04o; others may use it: chmod 600 it", info.Mode().Perm())
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fault.New(fault.Sealed, "the owner of the key file is not known on this system")
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fault.Newf(fault.Sealed, "the key file belongs to uid %d; it must belong to root or to the server's user, uid %d: chown it", st.Uid, os.Geteuid())
	}
	if st.Nlink != 1 {
		return fault.Newf(fault.Sealed, "the key file has %d hard links; there must be one: remove the others", st.Nlink)
	}
	return nil
}

func kindOfFile(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// checkParent refuses a folder in which anyone could exchange the file. In a
// sticky one, such as /tmp, only the owner can.
func checkParent(path string) error {
	info, err := os.Stat(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.NotFound, "the folder of the key file does not exist")
	case err != nil:
		return fault.Wrap(fault.Sealed, "the folder of the key file cannot be examined", err)
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return fault.Newf(fault.Sealed, "the folder of the key file has mode %04o; anyone may exchange the file: chmod o-w it", info.Mode().Perm())
	}
	return nil
}

func encodeKeyFile(id string, key []byte) []byte {
	line := make([]byte, 0, maxKeyFile)
	line = append(line, keyFileMagic+" "+id+" "...)
	line = base64.StdEncoding.AppendEncode(line, key)
	sum := sha256.Sum256(line)
	line = append(line, ' ')
	line = hex.AppendEncode(line, sum[:4])
	return append(line, '\n')
}

// decodeKeyFile accepts exactly what encodeKeyFile makes; the line feed may be
// missing. The content is never repeated in the error.
func decodeKeyFile(line []byte) (RootKey, error) {
	if len(line) > maxKeyFile {
		return RootKey{}, fault.New(fault.Sealed, "the key file has more than one line; restore it from its copy")
	}
	body := bytes.TrimSuffix(line, []byte("\n"))
	fields := bytes.Split(body, []byte(" "))
	if len(fields) != 4 || string(fields[0]) != keyFileMagic {
		return RootKey{}, fault.New(fault.Sealed, "the key file does not have the form "+keyFileMagic+" ID KEY CHECKSUM; restore it from its copy")
	}
	sum := sha256.Sum256(body[:len(body)-len(fields[3])-1])
	if string(fields[3]) != hex.EncodeToString(sum[:4]) {
		return RootKey{}, fault.New(fault.Sealed, "the checksum of the key file is wrong; restore it from its copy")
	}
	key, err := base64.StdEncoding.Strict().AppendDecode(nil, fields[2])
	if err != nil || len(key) != keyBytes || bytes.ContainsAny(fields[2], "\r\n") {
		return RootKey{}, fault.New(fault.Sealed, "the key in the key file is malformed; restore it from its copy")
	}
	k := newRootKey(key)
	if k.ID() != string(fields[1]) {
		return RootKey{}, fault.New(fault.Sealed, "the id in the key file is not that of its key; restore it from its copy")
	}
	return k, nil
}
