package audit

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Checkpoint is a signed statement about the trail, in the form of C2SP
// tlog-checkpoint, so that any witness can check and cosign it. Lines after the
// root are extensions:
//
//	heroctl/<cluster>/<trail id>
//	<size>
//	<root, base64>
//	revision <newest store revision an outcome speaks of>
//	keyring <version>
//	open <sequences of the intents without an outcome>      (absent if none)
//
//	— heroctl/<cluster>/<trail id> <signature>
type Checkpoint struct {
	Origin   string
	Size     uint64 // records covered; also the newest sequence
	Root     tlog.Hash
	Revision schema.Revision
	Keyring  uint64
	Open     []uint64
}

func originOf(cluster string, trail [16]byte) string {
	return fmt.Sprintf("heroctl/%s/%x", cluster, trail)
}

func (c Checkpoint) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%d\n%s\nrevision %d\nkeyring %d\n", c.Origin, c.Size, c.Root, c.Revision, c.Keyring)
	if len(c.Open) > 0 {
		b.WriteString("open")
		for _, seq := range c.Open {
			b.WriteString(" " + strconv.FormatUint(seq, 10))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sign returns the signed note.
func (c Checkpoint) sign(keys *crypto.Keyring) ([]byte, error) {
	signer, err := keys.Signer(c.Origin)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: c.text()}, signer)
}

// OpenCheckpoint checks the signature of a note with the verifier of its origin
// and returns what it says. Anything wrong is of kind fault.Integrity.
func OpenCheckpoint(signed []byte, verifier note.Verifier) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return Checkpoint{}, fault.Wrap(fault.Integrity, "the checkpoint's signature does not hold", err)
	}
	c, err := parseCheckpoint(n.Text)
	if err == nil && c.Origin != verifier.Name() {
		err = fault.New(fault.Integrity, "the checkpoint is of another trail")
	}
	return c, err
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	bad := func(err error) (Checkpoint, error) {
		return Checkpoint{}, fault.Wrap(fault.Integrity, "the checkpoint cannot be read", err)
	}
	if len(lines) < 3 {
		return bad(nil)
	}
	c := Checkpoint{Origin: lines[0]}
	var err error
	if c.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil {
		return bad(err)
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return bad(err)
	}
	for _, line := range lines[3:] {
		if err := c.extend(line); err != nil {
			return bad(err)
		}
	}
	return c, nil
}

// extend reads one extension line; those it does not know are a newer server's
// and are left alone.
func (c *Checkpoint) extend(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	var err error
	switch word {
	case "revision":
		var n uint64
		n, err = strconv.ParseUint(rest, 10, 64)
		c.Revision = schema.Revision(n)
	case "keyring":
		c.Keyring, err = strconv.ParseUint(rest, 10, 64)
	case "open":
		for text := range strings.SplitSeq(rest, " ") {
			n, problem := strconv.ParseUint(text, 10, 64)
			c.Open, err = append(c.Open, n), errors.Join(err, problem)
		}
	}
	return err
}

// readCheckpoint reads and checks the checkpoint file. found is false if there
// is none.
func readCheckpoint(fs vfs.FS, path string, keys *crypto.Keyring) (c Checkpoint, found bool, err error) {
	f, err := fs.Open(path)
	if oserror.IsNotExist(err) {
		return Checkpoint{}, false, nil
	}
	if err != nil {
		return Checkpoint{}, false, diskFault("the checkpoint file cannot be read", err)
	}
	signed, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return Checkpoint{}, false, diskFault("the checkpoint file cannot be read", err)
	}
	origin, _, _ := strings.Cut(string(signed), "\n")
	if !strings.HasPrefix(origin, "heroctl/"+keys.Cluster()+"/") {
		return Checkpoint{}, false, fault.New(fault.Integrity, "the checkpoint file is of another cluster, or damaged")
	}
	verifier, err := keys.Verifier(origin)
	if err != nil {
		return Checkpoint{}, false, fault.Wrap(fault.Integrity, "the checkpoint file is damaged", err)
	}
	c, err = OpenCheckpoint(signed, verifier)
	return c, err == nil, err
}

// writeCheckpoint replaces the checkpoint file as a whole: a crash leaves the old
// one or the new one.
func writeCheckpoint(fs vfs.FS, path string, keys *crypto.Keyring, c Checkpoint) error {
	signed, err := c.sign(keys)
	if err != nil {
		return err
	}
	temp := path + ".new"
	f, err := fs.Create(temp, category)
	if err != nil {
		return err
	}
	if err := errors.Join(writeSynced(f, signed), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(fs, fs.PathDir(path))
}
