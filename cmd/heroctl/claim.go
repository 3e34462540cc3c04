package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema/fault"
)

// undo takes back what was made, the last first.
type undo []func() error

func (u undo) run() error {
	var all []error
	for _, step := range slices.Backward(u) {
		all = append(all, step())
	}
	return errors.Join(all...)
}

// claim reserves the place of a new cluster, so that of two that are made at
// once one is refused: the store's folder and the key file are made, and must not
// have been there. What it made can be taken back also when it fails.
func claim(c serverConfig) (made undo, root crypto.RootKey, err error) {
	store := filepath.Join(c.DataDir, "store")
	if err := made.folder(c.DataDir); err != nil {
		return made, root, fmt.Errorf("make data_dir: %w", err)
	}
	if err := checkFolder(c.DataDir); err != nil {
		return made, root, err
	}
	entries, err := os.ReadDir(c.DataDir)
	if err != nil {
		return made, root, fmt.Errorf("look into data_dir: %w", err)
	}
	if len(entries) == 0 {
		err = os.Mkdir(store, 0o700)
	}
	if len(entries) > 0 || errors.Is(err, fs.ErrExist) {
		return made, root, fault.Newf(fault.Conflict, "%s is not empty: a cluster is initialised once; choose an empty data_dir", c.DataDir)
	}
	if err != nil {
		return made, root, fmt.Errorf("use data_dir: %w", err)
	}
	for _, name := range []string{"store", "index", "trail"} {
		made = append(made, func() error { return os.RemoveAll(filepath.Join(c.DataDir, name)) })
	}
	root, err = made.key(c)
	return made, root, err
}

// key makes the key file. The checkpoint beside it, which comes later, must not be
// there either: it would be that of another cluster.
func (u *undo) key(c serverConfig) (crypto.RootKey, error) {
	if err := u.folder(filepath.Dir(c.KeyFile)); err != nil {
		return crypto.RootKey{}, fmt.Errorf("make the folder of key_file: %w", err)
	}
	root, err := crypto.NewRootKey()
	if err != nil {
		return root, err
	}
	if err := crypto.WriteKeyFile(c.KeyFile, root); err != nil {
		return root, at("key_file "+c.KeyFile, err)
	}
	*u = append(*u, func() error { return removeFile(c.KeyFile) })
	checkpoint := c.checkpoint()
	if _, err := os.Lstat(checkpoint); err == nil {
		return root, fault.Newf(fault.Conflict, "%s belongs to another cluster; choose another key_file", checkpoint)
	}
	for _, file := range []string{checkpoint, checkpoint + ".new"} {
		*u = append(*u, func() error { return removeFile(file) })
	}
	return root, nil
}

// folder makes a folder for the server's eyes only, and what is missing above it.
// Taking it back leaves a folder that is not empty.
func (u *undo) folder(path string) error {
	var missing []string
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		missing = append(missing, at)
	}
	for _, at := range slices.Backward(missing) {
		if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		*u = append(*u, func() error { _ = os.Remove(at); return nil })
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s is not a directory", path))
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// checkFolder refuses a data directory that others can look into, and one of
// another user: root could use it, and leave files that its owner cannot open.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.Newf(fault.NotFound, "there is no cluster in %s; run heroctl cluster init first", path)
	case err != nil:
		return fmt.Errorf("look at data_dir: %w", err)
	case !info.IsDir():
		return fault.Newf(fault.FailedCheck, "data_dir %s is not a folder", path)
	case info.Mode().Perm()&0o077 != 0:
		return fault.Newf(fault.FailedCheck, "data_dir %s can be read by others (mode %04o); run chmod 0700 %s", path, info.Mode().Perm(), path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fault.Newf(fault.FailedCheck, "data_dir %s belongs to uid %d and this runs as uid %d; run it as the owner: sudo -u '#%d'",
			path, st.Uid, os.Geteuid(), st.Uid)
	}
	return nil
}
