package client

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/heroctl/heroctl/schema/fault"
)

// maxPrivateBytes bounds files with credentials.
const maxPrivateBytes = 1 << 20

// ReadPrivateFile reads a file with credentials. It refuses one that others may
// read or write, one of another owner, and anything but a regular file. The
// checks are made on the open file, so it cannot be exchanged in between. what
// names the file's role in errors. A file that does not exist is
// fault.NotFound.
func ReadPrivateFile(path, what string) ([]byte, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.NotFound, "the "+what+" does not exist", err)
	}
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, "the "+what+" cannot be opened", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, "the "+what+" cannot be examined", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.InvalidArgument, "the "+what+" is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fault.Newf(fault.InvalidArgument, "the %s has mode %04o and must not be open to others; run chmod 600 on it", what, mode)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return nil, fault.New(fault.InvalidArgument, "the "+what+" belongs to another user")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrivateBytes+1))
	if err != nil {
		return nil, fault.Wrap(fault.InvalidArgument, "the "+what+" cannot be read", err)
	}
	if len(text) > maxPrivateBytes {
		return nil, fault.New(fault.TooLarge, "the "+what+" is larger than 1 MiB")
	}
	return text, nil
}
