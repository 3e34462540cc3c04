package audit

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/crypto"
	"github.com/heroctl/heroctl/schema"
)

func canonicalOf(t testing.TB, e Entry) ([]byte, []byte) {
	t.Helper()
	it, err := newItem(e)
	if err != nil {
		t.Fatal(err)
	}
	h := head{
		sequence: 4711, time: time.Date(2026, 11, 23, 13, 0, 0, 123456000, time.UTC).UnixMicro(), kind: e.Kind,
		decision: e.Decision, previous: tlog.RecordHash([]byte("before")), salt: [16]byte{1, 2, 3},
		cluster: "9f8b7c6d-0000-4000-8000-000000000001", node: "node-1",
	}
	packed := pad(append(packHead(nil, h), it.body...))
	canonical, err := expand(nil, packed)
	if err != nil {
		t.Fatal(err)
	}
	return canonical, packed
}

func full() Entry {
	e := read("alice", "prod/payments/db_password")
	e.Decision = "019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b"
	e.Call.Context.Time = time.Date(2026, 11, 23, 12, 59, 59, 0, time.UTC)
	e.Call.Principal.Job = "api-7"
	e.Source.Forwarded = "1.2.3.4, 5.6.7.8"
	e.Checks = []Check{
		{schema.Capability{Resource: schema.Role, Verb: "bind"}, schema.MustPath("ops"), true, schema.Granted, e.Result.Rule},
		{schema.Capability{Resource: schema.Policy, Verb: "bind"}, schema.MustPath("base"), false, schema.NoRule, schema.RuleRef{}},
	}
	e.Outcome = Outcome{Code: CodeOK, Revision: 9, Count: 12, Version: 3}
	return e
}

// The canonical form is what encoding/json makes of the wire type: fixed order,
// no spaces. Packing is only a way to write it short.
func TestCanonicalForm(t *testing.T) {
	for name, e := range map[string]Entry{
		"full": full(), "read": read("alice", "prod/db"), "denied": denied("bob", "x"),
		"empty": {Kind: KindEvent, Method: "Server.Start"},
		"odd":   {Kind: KindDecision, Decision: "not-a-uuid", Request: `a"b\c<d>&e`, Call: schema.Call{Principal: schema.Principal{User: "n\x00\x1f\né\U0001f512\xff"}}},
	} {
		t.Run(name, func(t *testing.T) {
			canonical, packed := canonicalOf(t, e)
			var w wire
			if err := json.Unmarshal(canonical, &w); err != nil {
				t.Fatalf("%v in %s", err, canonical)
			}
			if name != "odd" { // encoding/json leaves what is not ASCII as it is
				want, err := json.Marshal(w)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(canonical)); diff != "" {
					t.Errorf("canonical form (-json +packed):\n%s", diff)
				}
			}
			for _, c := range canonical {
				if c < ' ' || c > '~' {
					t.Fatalf("canonical form has byte %#x", c)
				}
			}
			r, err := decode(canonical)
			if err != nil {
				t.Fatal(err)
			}
			out, err := json.Marshal(map[string]any{"x": r})
			if err != nil || string(out) != `{"x":`+string(canonical)+`}` {
				t.Errorf("a record inside other JSON is\n%s, %v\nwant the canonical bytes\n%s", out, err, canonical)
			}
			t.Logf("canonical %d bytes, packed %d", len(canonical), len(packed))
		})
	}
}

// The exact text is a promise to whoever verifies an export.
func TestCanonicalGolden(t *testing.T) {
	canonical, _ := canonicalOf(t, full())
	const want = `{"sequence":4711,"time":"2026-11-23T13:00:00.123456Z","kind":"decision","decision_id":"019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b",` +
		`"previous":"PREVIOUS","salt":"01020300000000000000000000000000","cluster":"9f8b7c6d-0000-4000-8000-000000000001","node":"node-1",` +
		`"request_id":"019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b","method":"Secrets.Get",` +
		`"source":{"peer":"10.20.30.40:51234","client":"10.20.30.40","forwarded":"1.2.3.4, 5.6.7.8","agent":"heroctl/1.2.3 (linux/amd64)","protocol":"grpc"},` +
		`"input":{"subject":{"type":"user","id":"alice","properties":{"token":"tkalice0123456789","roles":["deployer","viewer"],"job":"api-7"}},` +
		`"action":{"name":"secret:read"},"resource":{"type":"secret","id":"prod/payments/db_password"},` +
		`"context":{"time":"2026-11-23T12:59:59.000000Z","source":"10.20.30.40"}},"attached":"ATTACHED","version":3,` +
		`"decision":{"allow":true,"reason":"granted","rule":{"policy":"deploy-prod-secrets","digest":"RULE","line":14},"set":"SET","revision":123456},` +
		`"checks":[{"capability":"role:bind","path":"ops","allow":true,"reason":"granted","rule":{"policy":"deploy-prod-secrets","digest":"RULE","line":14}},` +
		`{"capability":"policy:bind","path":"base","allow":false,"reason":"no_rule"}],` +
		`"outcome":{"code":"ok","revision":9,"count":12,"version":3},"latency_us":734}`
	got := strings.NewReplacer(
		tlog.RecordHash([]byte("before")).String(), "PREVIOUS", schema.DigestOfList(policies).String(), "ATTACHED",
		schema.DigestOf([]byte("p")).String(), "RULE", schema.DigestOf([]byte("set")).String(), "SET",
	).Replace(string(canonical))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("canonical form changed (-want +got):\n%s", diff)
	}
}

func TestDecodeKeepsEverything(t *testing.T) {
	e := full()
	canonical, _ := canonicalOf(t, e)
	r, err := decode(canonical)
	if err != nil {
		t.Fatal(err)
	}
	in := e.Call.Input()
	in.Subject.Properties.Policies = nil
	got := Entry{
		Kind: r.Kind, Request: r.Request, Decision: r.Decision, Method: r.Method, Call: e.Call, Version: r.Version,
		Source: r.Source, Result: r.Result, Checks: r.Checks, Outcome: r.Outcome, Latency: r.Latency,
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	path := cmp.Comparer(func(a, b schema.Path) bool { return a == b })
	if diff := cmp.Diff(e, got, same, path); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(in, r.Input); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
	if r.Attached != e.Call.Principal.Attached() || r.Leaf != tlog.RecordHash(canonical) {
		t.Error("the digest of the policy list or the leaf is wrong")
	}
}

func TestTypicalRecordIsSmall(t *testing.T) {
	_, packed := canonicalOf(t, read("a-typical.user", "prod/payments/service/db_password"))
	if size := frameBytes + len(packed) + crypto.DataKeyOverhead; size > 1024 {
		t.Errorf("a typical record takes %d bytes on disk, want at most 1024", size)
	} else {
		t.Logf("%d bytes", size)
	}
}

func TestClientTextIsBounded(t *testing.T) {
	e := read("alice", "prod/db")
	e.Request = strings.Repeat("r", 1000)
	e.Source = Source{
		Peer: "1.2.3.4:5\n", Forwarded: "1.2.3.4, <script>evil()</script>" + strings.Repeat("9", 1000),
		Agent: "curl\r\n{\"fake\":\"record\"}\x1b[31m" + strings.Repeat("a", 1000), Protocol: "rest",
	}
	canonical, _ := canonicalOf(t, e)
	r, err := decode(canonical)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Request) != 64 || len(r.Source.Agent) != 128 || len(r.Source.Forwarded) != 128 {
		t.Errorf("lengths are %d, %d, %d; want 64, 128, 128", len(r.Request), len(r.Source.Agent), len(r.Source.Forwarded))
	}
	if strings.ContainsAny(r.Source.Agent+r.Source.Peer, "\r\n\x1b") || strings.ContainsAny(r.Source.Forwarded, "<>()st") {
		t.Errorf("kept %q and %q", r.Source.Agent, r.Source.Forwarded)
	}
}

func TestWordsAreDistinct(t *testing.T) {
	if n := len(words); int(escSalt) < 0x80+n {
		t.Fatalf("%d words run into the escapes", n)
	}
	for i, w := range words {
		if w == "" {
			t.Errorf("word %#x is empty", 0x80+i)
		}
	}
}

func FuzzExpand(f *testing.F) {
	_, packed := canonicalOf(f, full())
	f.Add(packed)
	f.Add([]byte{escDigest, 1, 2})
	f.Add([]byte{0, 0, 1})
	f.Fuzz(func(t *testing.T, packed []byte) {
		canonical, err := expand(nil, packed)
		if err != nil {
			return
		}
		if r, err := decode(canonical); err == nil {
			_ = r.result()
			_ = gistOf(r)
			_ = r.Path()
		}
	})
}

func FuzzSegmentHeader(f *testing.F) {
	h := header{number: 3, first: 6, created: time.Now(), before: chain{size: 5}}
	f.Add(h.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeHeader(b)
		if err != nil {
			return
		}
		if again := got.encode(); hex.EncodeToString(again[:88]) != hex.EncodeToString(b[:88]) {
			t.Error("a header does not encode as it was read")
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(Checkpoint{Origin: "heroctl/a/b", Size: 3, Revision: 4, Keyring: 5, Open: []uint64{1, 2}}.text())
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCheckpoint(text)
		if err != nil {
			return
		}
		again, err := parseCheckpoint(c.text())
		if err != nil || again.Size != c.Size || again.Root != c.Root {
			t.Errorf("read again: %+v, %v; want %+v", again, err, c)
		}
	})
}
