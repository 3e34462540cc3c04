package gateway

import (
	"crypto/hmac"
	"encoding/base64"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/heroctl/heroctl/schema"
	"github.com/heroctl/heroctl/schema/fault"
)

// Page sizes of every list.
const (
	defaultPage = 100
	maxPage     = 1000
)

// pageSize returns the size asked for, or the default.
func pageSize(asked uint32) (int, error) {
	if asked > maxPage {
		return 0, fault.Newf(fault.InvalidArgument, "page_size may be %d at most", maxPage)
	}
	if asked == 0 {
		return defaultPage, nil
	}
	return int(asked), nil
}

// A page token is
//
//	base64url( mac[16] | after )
//
// where after is the place the page starts behind and mac binds it to the call,
// the caller's token and the rest of the request: a token cannot be edited, used
// by another caller or with another query.

func (g *Gateway) pageToken(a *act, req proto.Message, after string) string {
	mac := g.pageMAC(a, req, after)
	return base64.RawURLEncoding.EncodeToString(append(mac, after...))
}

// pageAfter opens the page_token of req; it returns "" for the first page.
func (g *Gateway) pageAfter(a *act, req proto.Message, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err == nil && len(raw) > 16 {
		after := string(raw[16:])
		if hmac.Equal(raw[:16], g.pageMAC(a, req, after)) {
			return after, nil
		}
	}
	return "", fault.New(fault.InvalidArgument, "page_token is not one that this server gave you for this query; start again without it")
}

// namePage reads the page of a list of names.
func (g *Gateway) namePage(a *act, req proto.Message, size uint32, token string) (limit int, after schema.Name, err error) {
	if limit, err = pageSize(size); err != nil {
		return 0, schema.Name{}, err
	}
	text, err := g.pageAfter(a, req, token)
	if err != nil || text == "" {
		return limit, schema.Name{}, err
	}
	after, err = schema.ParseName(text)
	return limit, after, err
}

func (g *Gateway) pageMAC(a *act, req proto.Message, after string) []byte {
	query := proto.Clone(req)
	m := query.ProtoReflect()
	for _, name := range []protoreflect.Name{"page_token", "page_size"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			m.Clear(f)
		}
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(query)
	if err != nil {
		return nil
	}
	who := a.entry.Call.Principal
	mac := g.store.Keys().MAC("page", []byte(a.entry.Method), []byte(who.User), []byte(who.Token), text, []byte(after))
	return mac[:16]
}
