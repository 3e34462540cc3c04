package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema/fault"
)

// A segment is a file of records with a key of its own:
//
//	header 4096 | frame | frame | …
//
//	header: 0    "HEROTRL" and the format, 1
//	        8    segment number, 8 bytes
//	        16   sequence of the first record, 8 bytes
//	        24   created, microseconds, 8 bytes
//	        32   trail id, 16 bytes
//	        48   leaf and time of the record before the first, 32 + 8 bytes
//	        88   number of frontier hashes, 1 byte; then the hashes, 32 bytes each
//	        3072 two key slots of 512 bytes: length, 2 bytes; the wrapped data key
//
//	frame:  length of sealed 4 | sequence 8 | lag 4 | sealed
//	sealed: nonce 12 | packed record, padded | tag 16
//
// Numbers are big-endian. The data key is bound to the hash of the first 3072
// bytes, and each frame to that hash, its sequence and its lag, so nothing can be
// moved between places. The second slot is for rekeying: the new wrapping is
// added before the old one is removed, and no frame changes.
//
// Lag tells how far the disk was behind when the frame was written: all records
// up to sequence-lag had been fsynced. So a damaged frame with a later frame that
// says it had been fsynced is damage, and one without is a torn tail.
//
// The records of a segment end where the next segment begins: what is beyond was
// never confirmed, or was written again. A file is never cut.
const (
	segmentMagic  = "HEROTRL\x01"
	headerBytes   = 4096
	boundBytes    = 3072
	slotBytes     = 512
	frameBytes    = 16
	maxFrontier   = 64
	segmentSuffix = ".seg"
)

// header is what a segment's header says.
type header struct {
	number  uint64
	first   uint64 // sequence of its first record
	created time.Time
	trail   [16]byte
	before  chain // state before the first record
}

func (h header) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, segmentMagic)
	binary.BigEndian.PutUint64(b[8:], h.number)
	binary.BigEndian.PutUint64(b[16:], h.first)
	binary.BigEndian.PutUint64(b[24:], uint64(h.created.UnixMicro()))
	copy(b[32:], h.trail[:])
	copy(b[48:], h.before.leaf[:])
	binary.BigEndian.PutUint64(b[80:], uint64(h.before.time))
	frontier := h.before.frontier()
	b[88] = byte(len(frontier))
	for i, hash := range frontier {
		copy(b[89+i*tlog.HashSize:], hash[:])
	}
	return b
}

func decodeHeader(b []byte) (header, error) {
	bad := fault.New(fault.Integrity, "the segment's header is damaged")
	if len(b) != headerBytes || string(b[:8]) != segmentMagic || b[88] > maxFrontier {
		return header{}, bad
	}
	h := header{
		number:  binary.BigEndian.Uint64(b[8:]),
		first:   binary.BigEndian.Uint64(b[16:]),
		created: time.UnixMicro(int64(binary.BigEndian.Uint64(b[24:]))),
		trail:   [16]byte(b[32:48]),
	}
	if h.first == 0 || h.first > 1<<62 {
		return header{}, bad
	}
	frontier := make([]tlog.Hash, b[88])
	for i := range frontier {
		copy(frontier[i][:], b[89+i*tlog.HashSize:])
	}
	var err error
	h.before, err = resume(h.first-1, tlog.Hash(b[48:80]), int64(binary.BigEndian.Uint64(b[80:])), frontier)
	return h, err
}

func slot(b []byte, i int) []byte { return b[boundBytes+i*slotBytes:][:slotBytes] }

// segment is an open segment. Reading is safe for concurrent use; writing is the
// writer's alone.
type segment struct {
	header
	id   [sha256.Size]byte // hash of the bound part of the header
	key  *crypto.DataKey
	file vfs.File
	size int64 // bytes written; only kept by the writer
}

func segmentName(number uint64) string { return fmt.Sprintf("%010d%s", number, segmentSuffix) }

func segmentLabel(id [sha256.Size]byte, number uint64) crypto.Label {
	return crypto.Label{Kind: "audit-segment", Path: hex.EncodeToString(id[:]), Version: number}
}

// createSegment makes the file with its header, durable, directory entry
// included.
func createSegment(fs vfs.FS, dir string, keys *crypto.Keyring, h header) (*segment, error) {
	b := h.encode()
	s := &segment{header: h, id: sha256.Sum256(b[:boundBytes]), size: headerBytes}
	key, wrapped, err := keys.NewDataKey(segmentLabel(s.id, h.number))
	if err != nil {
		return nil, err
	}
	if len(wrapped) > slotBytes-2 {
		return nil, fault.New(fault.Internal, "the wrapped key does not fit its slot")
	}
	binary.BigEndian.PutUint16(slot(b, 0), uint16(len(wrapped)))
	copy(slot(b, 0)[2:], wrapped)
	s.key = key
	if s.file, err = fs.Create(fs.PathJoin(dir, segmentName(h.number)), category); err != nil {
		return nil, err
	}
	if err := writeSynced(s.file, b); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	if err := syncDir(fs, dir); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// category labels the trail's writes in the file system's statistics.
const category vfs.DiskWriteCategory = "audit"

func writeSynced(f vfs.File, b []byte) error {
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// errTornHeader is the header of a segment whose creation was cut off: no frame
// can follow it.
var errTornHeader = fault.New(fault.Integrity, "the segment's header is incomplete")

// openSegment opens a segment for reading.
func openSegment(fs vfs.FS, dir string, keys *crypto.Keyring, number uint64) (*segment, error) {
	f, err := fs.Open(fs.PathJoin(dir, segmentName(number)))
	if err != nil {
		return nil, diskFault("a segment cannot be opened", err)
	}
	s, err := readHeader(f, keys, number)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func readHeader(f vfs.File, keys *crypto.Keyring, number uint64) (*segment, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, diskFault("a segment cannot be read", err)
	}
	b := make([]byte, headerBytes)
	if _, err := f.ReadAt(b, 0); errors.Is(err, io.EOF) && info.Size() < headerBytes {
		return nil, errTornHeader
	} else if err != nil {
		return nil, diskFault("a segment cannot be read", err)
	}
	s := &segment{id: sha256.Sum256(b[:boundBytes]), file: f, size: info.Size()}
	if s.header, err = decodeHeader(b); err == nil {
		err = s.unwrap(keys, b, number)
	}
	if err != nil && info.Size() == headerBytes {
		return nil, errTornHeader
	}
	return s, err
}

// unwrap opens the data key from whichever slot holds it. The file's name must
// agree with the header: a renamed segment is a moved one.
func (s *segment) unwrap(keys *crypto.Keyring, b []byte, number uint64) error {
	err := fault.New(fault.Integrity, "the segment's key cannot be opened")
	if s.number != number {
		return fault.New(fault.Integrity, "the segment is not the one its name says")
	}
	for i := range 2 {
		of := slot(b, i)
		n := int(binary.BigEndian.Uint16(of))
		if n == 0 || n > slotBytes-2 {
			continue
		}
		if s.key, err = keys.OpenDataKey(segmentLabel(s.id, number), of[2:2+n]); err == nil {
			return nil
		}
	}
	return err
}

func (s *segment) aad(dst []byte, sequence uint64, lag uint32) []byte {
	dst = append(dst[:0], s.id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, sequence)
	return binary.BigEndian.AppendUint32(dst, lag)
}

// appendFrame appends the frame of a packed and padded record to dst.
func (s *segment) appendFrame(dst, packed []byte, sequence uint64, lag uint32) []byte {
	var aad [sha256.Size + 12]byte
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(packed)+crypto.DataKeyOverhead))
	dst = binary.BigEndian.AppendUint64(dst, sequence)
	dst = binary.BigEndian.AppendUint32(dst, lag)
	return s.key.Seal(dst, packed, s.aad(aad[:], sequence, lag))
}

// frame is one record as it was found.
type frame struct {
	sequence uint64
	lag      uint32
	offset   int64
	length   uint32 // of the whole frame
	packed   []byte
}

// errTorn is a frame that is incomplete or does not open.
var errTorn = fault.New(fault.Integrity, "a frame is incomplete or altered")

type frameHead struct {
	length   uint32 // of the sealed part
	sequence uint64
	lag      uint32
}

func decodeFrameHead(b []byte) (frameHead, bool) {
	h := frameHead{binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint32(b[12:])}
	ok := h.length > crypto.DataKeyOverhead && h.length <= maxRecord+packStep+crypto.DataKeyOverhead &&
		h.sequence > 0 && h.sequence >= uint64(h.lag)
	return h, ok
}

// openFrame opens a whole frame.
func (s *segment) openFrame(b []byte, offset int64) (frame, error) {
	if len(b) < frameBytes {
		return frame{}, errTorn
	}
	h, ok := decodeFrameHead(b)
	if !ok || len(b) != frameBytes+int(h.length) {
		return frame{}, errTorn
	}
	var aad [sha256.Size + 12]byte
	packed, err := s.key.Open(nil, b[frameBytes:], s.aad(aad[:], h.sequence, h.lag))
	if err != nil {
		return frame{}, errTorn
	}
	return frame{h.sequence, h.lag, offset, uint32(len(b)), packed}, nil
}

// readFrame reads one frame at a known place.
func (s *segment) readFrame(offset int64, length uint32) (frame, error) {
	if length > frameBytes+maxRecord+packStep+crypto.DataKeyOverhead {
		return frame{}, errTorn
	}
	b := make([]byte, length)
	if _, err := s.file.ReadAt(b, offset); err != nil {
		return frame{}, readFault(err)
	}
	return s.openFrame(b, offset)
}

// scanner reads the frames of a segment in order.
type scanner struct {
	s      *segment
	r      *bufio.Reader
	offset int64
	buf    []byte
}

func (s *segment) scan() *scanner { return s.scanFrom(headerBytes) }

func (s *segment) scanFrom(offset int64) *scanner {
	from := io.NewSectionReader(s.file, offset, 1<<62)
	return &scanner{s: s, r: bufio.NewReaderSize(from, 256<<10), offset: offset}
}

// next returns the next frame; io.EOF at the end of the file, errTorn for a
// frame that is not whole, and fault.Unavailable when the disk does not answer.
func (sc *scanner) next() (frame, error) {
	h, err := sc.head()
	if err != nil {
		return frame{}, err
	}
	n := frameBytes + int(h.length)
	if cap(sc.buf) < n {
		sc.buf = make([]byte, n)
	}
	sc.buf = sc.buf[:n]
	if _, err := io.ReadFull(sc.r, sc.buf); err != nil {
		return frame{}, readFault(err)
	}
	f, err := sc.s.openFrame(sc.buf, sc.offset)
	if err == nil {
		sc.offset += int64(n)
	}
	return f, err
}

// skip passes over the frames before sequence without opening them.
func (sc *scanner) skip(sequence uint64) error {
	for {
		h, err := sc.head()
		if err != nil || h.sequence >= sequence {
			return err
		}
		n := frameBytes + int(h.length)
		if _, err := sc.r.Discard(n); err != nil {
			return readFault(err)
		}
		sc.offset += int64(n)
	}
}

func (sc *scanner) head() (frameHead, error) {
	b, err := sc.r.Peek(frameBytes)
	if len(b) == 0 && errors.Is(err, io.EOF) {
		return frameHead{}, io.EOF
	}
	if err != nil {
		return frameHead{}, readFault(err)
	}
	h, ok := decodeFrameHead(b)
	if !ok {
		return frameHead{}, errTorn
	}
	return h, nil
}

// readFault tells the end of a file, which tears a frame, from a disk that does
// not answer, which says nothing about the frame.
func readFault(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return diskFault("a segment cannot be read", err)
}

func diskFault(detail string, err error) error { return fault.Wrap(fault.Unavailable, detail, err) }
