package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Record is an entry as the trail keeps it.
type Record struct {
	Sequence uint64 // 1, 2, 3 and so on; leaf Sequence-1 of the tree
	Time     time.Time
	Kind     Kind
	Cluster  string
	Node     string
	Previous tlog.Hash // leaf of the record before
	Leaf     tlog.Hash // RFC 6962 leaf hash of JSON()
	Salt     string    // random, so that a leaf tells nothing about its record

	Decision schema.DecisionID
	Request  string
	Method   string
	Source   Source
	Input    schema.Input  // without the policy list; Trail.Input completes it
	Attached schema.Digest // stands for the policy list
	Version  schema.Version
	Result   schema.Decision
	Checks   []Check
	Outcome  Outcome
	Latency  time.Duration

	Definition Definition // only in a definition

	canonical []byte
	segment   uint64
}

// Definition gives the names behind a digest that records refer to.
type Definition struct {
	Digest schema.Digest `json:"digest"`
	Names  []string      `json:"names"`
}

// JSON returns the record's canonical bytes: one line of JSON with the fields of
// the type wire, in that order, without spaces. Its leaf hash is Leaf, so an
// exported line can be checked against a checkpoint by anyone. The caller must
// not change it.
func (r Record) JSON() []byte { return r.canonical }

// MarshalJSON returns what JSON returns.
func (r Record) MarshalJSON() ([]byte, error) {
	if r.canonical == nil {
		return nil, fault.New(fault.Internal, "only a record read from the trail has a JSON form")
	}
	return r.canonical, nil
}

// Path returns the path the record is about; zero if it names none.
func (r Record) Path() schema.Path {
	p, err := schema.ParsePath(r.Input.Resource.ID)
	if err != nil {
		return schema.Path{}
	}
	return p
}

// Result is how a call ended, in one word.
type Result string

// The results; append-only.
const (
	ResultAllow   Result = "allow"   // allowed and done
	ResultDeny    Result = "deny"    // decided: no
	ResultFailed  Result = "failed"  // allowed, and failed
	ResultUnknown Result = "unknown" // an intent without an outcome: under way, or cut off
)

// result is that of a record with the given outcome.
func (r Record) result() Result {
	switch {
	case r.Kind == KindEvent && r.Outcome.Code == "":
		return ResultAllow
	case r.Kind != KindEvent && !r.Result.Allow:
		return ResultDeny
	case r.Outcome.Code == "":
		return ResultUnknown
	case r.Outcome.Code != CodeOK:
		return ResultFailed
	}
	return ResultAllow
}

// The wire types are the canonical form: these fields in this order. Fields are
// only ever added, before Latency's closing brace.
type wire struct {
	Sequence   uint64            `json:"sequence"`
	Time       string            `json:"time"`
	Kind       Kind              `json:"kind"`
	Decision   schema.DecisionID `json:"decision_id"`
	Previous   tlog.Hash         `json:"previous"`
	Salt       string            `json:"salt"`
	Cluster    string            `json:"cluster"`
	Node       string            `json:"node"`
	Definition *Definition       `json:"definition,omitempty"`
	Request    string            `json:"request_id,omitempty"`
	Method     string            `json:"method,omitempty"`
	Source     *wireSource       `json:"source,omitempty"`
	Input      *schema.Input     `json:"input,omitempty"`
	Attached   schema.Digest     `json:"attached,omitzero"`
	Version    schema.Version    `json:"version,omitempty"`
	Result     *wireDecision     `json:"decision,omitempty"`
	Checks     []wireCheck       `json:"checks,omitempty"`
	Outcome    *Outcome          `json:"outcome,omitempty"`
	Latency    int64             `json:"latency_us,omitempty"`
}

type wireSource struct {
	Peer      string `json:"peer"`
	Client    string `json:"client,omitempty"`
	Forwarded string `json:"forwarded,omitempty"`
	Agent     string `json:"agent,omitempty"`
	Protocol  string `json:"protocol,omitempty"`
}

type wireDecision struct {
	Allow     bool            `json:"allow"`
	Reason    schema.Reason   `json:"reason"`
	Rule      *schema.RuleRef `json:"rule,omitempty"`
	Set       schema.Digest   `json:"set,omitzero"`
	Revision  schema.Revision `json:"revision,omitempty"`
	Condition string          `json:"condition,omitempty"`
}

type wireCheck struct {
	Capability string          `json:"capability"`
	Path       string          `json:"path"`
	Allow      bool            `json:"allow"`
	Reason     schema.Reason   `json:"reason"`
	Rule       *schema.RuleRef `json:"rule,omitempty"`
}

// head is the part of a record that the writer fills in.
type head struct {
	sequence uint64
	time     int64 // microseconds
	kind     Kind
	decision schema.DecisionID
	previous tlog.Hash
	salt     [16]byte
	cluster  string
	node     string
}

// packHead appends the packed head.
func packHead(dst []byte, h head) []byte {
	p := packer(dst)
	p.number(wSequence, int64(h.sequence))
	p.word(wTime)
	p.time(h.time)
	p.word(wKind)
	p.value(string(h.kind))
	p.word(wDecisionID)
	p.id(string(h.decision))
	p.word(wPrevious)
	p.hash(h.previous)
	p.word(wSalt)
	p = append(append(p, escSalt), h.salt[:]...)
	p.word(wCluster)
	p.id(h.cluster)
	p.word(wNode)
	p.text(h.node)
	p.raw(`"`)
	return p
}

// packBody returns the packed rest of the record of e, which does not depend on
// its place in the trail, so that callers pack in parallel.
func packBody(e Entry, attached schema.Digest) []byte {
	p := make(packer, 0, 512)
	p.optional(wRequest, bounded(e.Request, maxRequest, printable))
	p.optional(wMethod, bounded(e.Method, maxMethod, printable))
	p.source(e.Source)
	p.input(e.Call)
	if len(e.Call.Principal.Policies) > 0 {
		p.word(wAttached)
		p.digest(attached)
		p.raw(`"`)
	}
	p.count(wVersion, int64(e.Version))
	p.decision(e.Result)
	p.checks(e.Checks)
	if e.Outcome != (Outcome{}) {
		p.word(wOutcome)
		p.text(e.Outcome.Code)
		p.raw(`"`)
		p.count(wRevision, int64(e.Outcome.Revision))
		p.count(wCount, int64(e.Outcome.Count))
		p.count(wVersion, int64(e.Outcome.Version))
		p.raw("}")
	}
	p.count(wLatency, e.Latency.Microseconds())
	p.raw("}")
	return p
}

// packDefinition returns the packed rest of a definition.
func packDefinition(d Definition) []byte {
	var p packer
	p.word(wDefinition)
	p.digest(d.Digest)
	p.raw(`"`)
	p.word(wNames)
	p.list(d.Names)
	p.raw("]}}")
	return p
}

// optional writes a string that is left out when it is empty.
func (p *packer) optional(w byte, s string) {
	if s == "" {
		return
	}
	p.word(w)
	p.id(s)
	p.raw(`"`)
}

func (p *packer) source(s Source) {
	if s == (Source{}) {
		return
	}
	p.word(wSource)
	p.word(wPeer)
	p.text(bounded(s.Peer, maxPeer, printable))
	p.raw(`"`)
	client := ""
	if s.Client.IsValid() {
		client = s.Client.Unmap().WithZone("").String()
	}
	p.more(wClient, client)
	p.more(wForwarded, bounded(s.Forwarded, maxForwarded, ofAddress))
	p.more(wAgent, bounded(s.Agent, maxAgent, printable))
	p.more(wProtocol, bounded(s.Protocol, maxProtocol, printable))
	p.raw("}")
}

func (p *packer) more(w byte, s string) {
	if s == "" {
		return
	}
	p.raw(",")
	p.word(w)
	p.text(s)
	p.raw(`"`)
}

// input writes the decision input as schema.Input encodes, without the policy
// list.
func (p *packer) input(c schema.Call) {
	p.word(wInput)
	p.value(string(c.Principal.Kind))
	p.word(wSubjectID)
	p.text(c.Principal.User)
	p.properties(c.Principal)
	p.word(wAction)
	p.text(c.Capability.String())
	p.word(wResource)
	p.text(string(c.Capability.Resource))
	p.word(wResourceID)
	p.text(c.Path.String())
	p.context(c.Context)
}

func (p *packer) context(c schema.Context) {
	p.word(wContext)
	p.time(c.Time.UnixMicro())
	if from := c.Address(); from.IsValid() {
		p.word(wContextSource)
		p.text(from.String())
	}
	if c.Method != "" {
		p.word(wAuthMethod)
		p.text(c.Method)
	}
	p.raw(`"`)
	if age, known := c.TokenAge(); known {
		p.number(wTokenAge, age)
	}
	p.zones(c.Zones)
	p.raw("}}")
}

// zones writes the local times by the name of their zone, sorted, as encoding/json
// does.
func (p *packer) zones(zones map[string]schema.LocalTime) {
	if len(zones) == 0 {
		return
	}
	p.word(wZones)
	for i, name := range slices.Sorted(maps.Keys(zones)) {
		if i > 0 {
			p.raw(",")
		}
		p.raw(`"`)
		p.text(name)
		p.word(wDay)
		p.text(zones[name].Day)
		p.number(wMinute, int64(zones[name].Minute))
		p.raw("}")
	}
	p.raw("}")
}

func (p *packer) properties(of schema.Principal) {
	p.word(wProperties)
	separator := ""
	if of.Token != "" {
		p.word(wToken)
		p.text(of.Token)
		p.raw(`"`)
		separator = ","
	}
	if len(of.Roles) > 0 {
		p.raw(separator)
		p.word(wRoles)
		p.list(of.Roles)
		p.raw("]")
		separator = ","
	}
	if of.Job != "" {
		p.raw(separator)
		p.word(wJob)
		p.text(of.Job)
		p.raw(`"`)
	}
}

func (p *packer) decision(d schema.Decision) {
	if d == (schema.Decision{}) {
		return
	}
	p.word(wDecision)
	p.bool(d.Allow)
	p.word(wReason)
	p.value(string(d.Reason))
	p.raw(`"`)
	p.rule(d.Rule)
	if d.Set != (schema.Digest{}) {
		p.word(wSet)
		p.digest(d.Set)
		p.raw(`"`)
	}
	p.count(wRevision, int64(d.Revision))
	if d.Condition != "" {
		p.word(wCondition)
		p.text(d.Condition)
		p.raw(`"`)
	}
	p.raw("}")
}

func (p *packer) rule(r schema.RuleRef) {
	if r == (schema.RuleRef{}) {
		return
	}
	p.word(wRule)
	p.text(r.Policy)
	p.word(wDigest)
	p.digest(r.Digest)
	p.number(wLine, int64(r.Line))
	p.raw("}")
}

func (p *packer) checks(checks []Check) {
	if len(checks) == 0 {
		return
	}
	p.word(wChecks)
	for i, c := range checks {
		if i > 0 {
			p.raw(",")
		}
		p.word(wCapability)
		p.text(c.Capability.String())
		p.word(wPath)
		p.text(c.Path.String())
		p.word(wAllow)
		p.bool(c.Allow)
		p.word(wReason)
		p.value(string(c.Reason))
		p.raw(`"`)
		p.rule(c.Rule)
		p.raw("}")
	}
	p.raw("]")
}

// decode reads canonical bytes. Unknown fields are refused: a record of a newer
// server is not half understood.
func decode(canonical []byte) (Record, error) {
	var w wire
	d := json.NewDecoder(bytes.NewReader(canonical))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return Record{}, fault.Wrap(fault.Integrity, "a record cannot be read", err)
	}
	at, err := time.Parse(schema.TimeLayout, w.Time)
	if err != nil {
		return Record{}, fault.Wrap(fault.Integrity, "a record's time cannot be read", err)
	}
	r := Record{
		Sequence: w.Sequence, Time: at, Kind: w.Kind, Cluster: w.Cluster, Node: w.Node,
		Previous: w.Previous, Leaf: tlog.RecordHash(canonical), Salt: w.Salt,
		Decision: w.Decision, Request: w.Request, Method: w.Method, Attached: w.Attached, Version: w.Version,
		Latency: time.Duration(w.Latency) * time.Microsecond, canonical: canonical,
	}
	r.fill(w)
	return r, nil
}

func (r *Record) fill(w wire) {
	if w.Definition != nil {
		r.Definition = *w.Definition
	}
	if s := w.Source; s != nil {
		client, _ := netip.ParseAddr(s.Client)
		r.Source = Source{Peer: s.Peer, Client: client, Forwarded: s.Forwarded, Agent: s.Agent, Protocol: s.Protocol}
	}
	if w.Input != nil {
		r.Input = *w.Input
	}
	if d := w.Result; d != nil {
		r.Result = schema.Decision{Allow: d.Allow, Reason: d.Reason, Rule: ruleOf(d.Rule), Set: d.Set, Revision: d.Revision, Condition: d.Condition}
	}
	for _, c := range w.Checks {
		capability, _ := schema.ParseCapability(c.Capability)
		path, _ := schema.ParsePath(c.Path)
		r.Checks = append(r.Checks, Check{Capability: capability, Path: path, Allow: c.Allow, Reason: c.Reason, Rule: ruleOf(c.Rule)})
	}
	if w.Outcome != nil {
		r.Outcome = *w.Outcome
	}
}

func ruleOf(r *schema.RuleRef) schema.RuleRef {
	if r == nil {
		return schema.RuleRef{}
	}
	return *r
}
