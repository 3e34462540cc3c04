package audit

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// The packed form of a record is its canonical JSON with the fixed parts and the
// binary fields written short. Canonical JSON is ASCII, so each byte from 0x80 up
// is free to stand for a longer text; expanding is a plain substitution, and
// nothing is ever parsed to compute a leaf. A zero byte ends the record; zeros
// pad it to steps of packStep, so that the length of a name does not show.
const packStep = 32

// The escapes: a byte, then a field of fixed length.
const (
	escDigest byte = 0xff // 32 bytes, written as 64 hexadecimal digits
	escUUID   byte = 0xfe // 16 bytes, written as a UUID
	escTime   byte = 0xfd // 8 bytes, microseconds since 1970, written with schema.TimeLayout
	escHash   byte = 0xfc // 32 bytes, written in base64, as package tlog does
	escSalt   byte = 0xfb // 16 bytes, written as 32 hexadecimal digits
)

// The words. The list is append-only: it is part of the stored format.
const (
	wSequence byte = 0x80 + iota
	wTime
	wKind
	wDecisionID
	wPrevious
	wSalt
	wCluster
	wNode
	wDefinition
	wNames
	wRequest
	wMethod
	wSource
	wPeer
	wClient
	wForwarded
	wAgent
	wProtocol
	wInput
	wUser
	wSystem
	wSubjectID
	wToken
	wRoles
	wJob
	wAction
	wResource
	wResourceID
	wContext
	wContextSource
	wAttached
	wVersion
	wDecision
	wTrue
	wFalse
	wRule
	wDigest
	wLine
	wSet
	wRevision
	wChecks
	wCapability
	wPath
	wAllow
	wReason
	wOutcome
	wCount
	wLatency
	wDecided
	wIntent
	wOutcomeKind
	wGranted
	wProperties
	wAuthMethod
	wTokenAge
	wZones
	wDay
	wMinute
	wCondition
)

var words = [...]string{
	wSequence - 0x80:      `{"sequence":`,
	wTime - 0x80:          `,"time":"`,
	wKind - 0x80:          `","kind":"`,
	wDecisionID - 0x80:    `","decision_id":"`,
	wPrevious - 0x80:      `","previous":"`,
	wSalt - 0x80:          `","salt":"`,
	wCluster - 0x80:       `","cluster":"`,
	wNode - 0x80:          `","node":"`,
	wDefinition - 0x80:    `,"definition":{"digest":"`,
	wNames - 0x80:         `,"names":[`,
	wRequest - 0x80:       `,"request_id":"`,
	wMethod - 0x80:        `,"method":"`,
	wSource - 0x80:        `,"source":{`,
	wPeer - 0x80:          `"peer":"`,
	wClient - 0x80:        `"client":"`,
	wForwarded - 0x80:     `"forwarded":"`,
	wAgent - 0x80:         `"agent":"`,
	wProtocol - 0x80:      `"protocol":"`,
	wInput - 0x80:         `,"input":{"subject":{"type":"`,
	wUser - 0x80:          `user`,
	wSystem - 0x80:        `system`,
	wSubjectID - 0x80:     `","id":"`,
	wToken - 0x80:         `"token":"`,
	wRoles - 0x80:         `"roles":[`,
	wJob - 0x80:           `"job":"`,
	wAction - 0x80:        `}},"action":{"name":"`,
	wResource - 0x80:      `"},"resource":{"type":"`,
	wResourceID - 0x80:    `","id":"`,
	wContext - 0x80:       `"},"context":{"time":"`,
	wContextSource - 0x80: `","source":"`,
	wAttached - 0x80:      `,"attached":"`,
	wVersion - 0x80:       `,"version":`,
	wDecision - 0x80:      `,"decision":{"allow":`,
	wTrue - 0x80:          `true`,
	wFalse - 0x80:         `false`,
	wRule - 0x80:          `,"rule":{"policy":"`,
	wDigest - 0x80:        `","digest":"`,
	wLine - 0x80:          `","line":`,
	wSet - 0x80:           `,"set":"`,
	wRevision - 0x80:      `,"revision":`,
	wChecks - 0x80:        `,"checks":[`,
	wCapability - 0x80:    `{"capability":"`,
	wPath - 0x80:          `","path":"`,
	wAllow - 0x80:         `","allow":`,
	wReason - 0x80:        `,"reason":"`,
	wOutcome - 0x80:       `,"outcome":{"code":"`,
	wCount - 0x80:         `,"count":`,
	wLatency - 0x80:       `,"latency_us":`,
	wDecided - 0x80:       `decision`,
	wIntent - 0x80:        `intent`,
	wOutcomeKind - 0x80:   `outcome`,
	wGranted - 0x80:       `granted`,
	wProperties - 0x80:    `","properties":{`,
	wAuthMethod - 0x80:    `","auth_method":"`,
	wTokenAge - 0x80:      `,"token_age":`,
	wZones - 0x80:         `,"zones":{`,
	wDay - 0x80:           `":{"day":"`,
	wMinute - 0x80:        `","minute":`,
	wCondition - 0x80:     `,"condition":"`,
}

// short holds the words that stand for whole values.
var short = map[string]byte{
	"user": wUser, "system": wSystem, "granted": wGranted,
	string(KindDecision): wDecided, string(KindIntent): wIntent, string(KindOutcome): wOutcomeKind,
}

// expand appends the canonical form of packed to dst.
func expand(dst, packed []byte) ([]byte, error) {
	for i := 0; i < len(packed); i++ {
		plain := i
		for plain < len(packed) && packed[plain]-1 < 0x7f {
			plain++
		}
		dst = append(dst, packed[i:plain]...)
		if i = plain; i == len(packed) {
			break
		}
		switch c := packed[i]; {
		case c == 0:
			return dst, padding(packed[i:])
		case int(c-0x80) < len(words):
			dst = append(dst, words[c-0x80]...)
		default:
			n := escapeBytes(c)
			if n == 0 || len(packed)-i-1 < n {
				return nil, errPacked
			}
			dst = expandField(dst, c, packed[i+1:i+1+n])
			i += n
		}
	}
	return dst, nil
}

var errPacked = fault.New(fault.Integrity, "a record's packed form is damaged")

func padding(rest []byte) error {
	for _, c := range rest {
		if c != 0 {
			return errPacked
		}
	}
	return nil
}

func escapeBytes(c byte) int {
	switch c {
	case escDigest, escHash:
		return 32
	case escUUID, escSalt:
		return 16
	case escTime:
		return 8
	}
	return 0
}

func expandField(dst []byte, c byte, field []byte) []byte {
	switch c {
	case escDigest, escSalt:
		return hex.AppendEncode(dst, field)
	case escHash:
		return base64.StdEncoding.AppendEncode(dst, field)
	case escTime:
		at := time.UnixMicro(int64(binary.BigEndian.Uint64(field)))
		return at.UTC().AppendFormat(dst, schema.TimeLayout)
	}
	for i, group := range [][]byte{field[:4], field[4:6], field[6:8], field[8:10], field[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, group)
	}
	return dst
}

// parseUUID reads what expanding escUUID writes, and nothing else.
func parseUUID(text string) (id [16]byte, ok bool) {
	if len(text) != 36 {
		return id, false
	}
	n := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return id, false
			}
			continue
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return id, false
		}
		id[n/2] = id[n/2]<<4 | c
		n++
	}
	return id, true
}

// packer builds a packed record.
type packer []byte

func (p *packer) word(w byte)  { *p = append(*p, w) }
func (p *packer) raw(s string) { *p = append(*p, s...) }

func (p *packer) number(w byte, n int64) {
	*p = strconv.AppendInt(append(*p, w), n, 10)
}

// count writes a number that is left out when it is zero.
func (p *packer) count(w byte, n int64) {
	if n != 0 {
		p.number(w, n)
	}
}

func (p *packer) bool(b bool) {
	if b {
		p.word(wTrue)
		return
	}
	p.word(wFalse)
}

func (p *packer) digest(d schema.Digest) {
	if d != (schema.Digest{}) {
		*p = append(append(*p, escDigest), d[:]...)
	}
}

func (p *packer) hash(h tlog.Hash) { *p = append(append(*p, escHash), h[:]...) }

func (p *packer) time(micro int64) {
	*p = binary.BigEndian.AppendUint64(append(*p, escTime), uint64(micro))
}

func (p *packer) id(text string) {
	if id, ok := parseUUID(text); ok {
		*p = append(append(*p, escUUID), id[:]...)
		return
	}
	p.text(text)
}

// value writes a string that often is one of the short words.
func (p *packer) value(s string) {
	if w, ok := short[s]; ok {
		p.word(w)
		return
	}
	p.text(s)
}

const hexDigits = "0123456789abcdef"

// text writes the inside of a JSON string: as encoding/json does, and with
// everything outside ASCII escaped.
func (p *packer) text(s string) {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
			i++
			continue
		}
		p.raw(s[start:i])
		r, n := utf8.DecodeRuneInString(s[i:])
		p.escape(r)
		i += n
		start = i
	}
	p.raw(s[start:])
}

func (p *packer) escape(r rune) {
	switch r {
	case '"', '\\':
		*p = append(*p, '\\', byte(r))
	case '\n':
		p.raw(`\n`)
	case '\r':
		p.raw(`\r`)
	case '\t':
		p.raw(`\t`)
	case '\b':
		p.raw(`\b`)
	case '\f':
		p.raw(`\f`)
	default:
		if r > 0xffff {
			r -= 0x10000
			p.escape16(0xd800 + r>>10)
			r = 0xdc00 + r&0x3ff
		}
		p.escape16(r)
	}
}

func (p *packer) escape16(r rune) {
	*p = append(*p, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

func (p *packer) list(names []string) {
	for i, name := range names {
		if i > 0 {
			p.raw(",")
		}
		p.raw(`"`)
		p.text(name)
		p.raw(`"`)
	}
}

// pad fills up to the next step.
func pad(packed []byte) []byte {
	for len(packed)%packStep != 0 {
		packed = append(packed, 0)
	}
	return packed
}
