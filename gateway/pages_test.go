package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/heroctl/heroctl/audit"
)

// next takes the page token out of a list's answer.
func (a answer) next() string {
	var page struct {
		Token string `json:"next_page_token"`
	}
	_ = json.Unmarshal([]byte(a.body), &page) // no token is the empty one
	return page.Token
}

// TestPageTokensAreBound holds that a page token works for the caller and the
// query it was given for, and only as it was given (N29).
func TestPageTokensAreBound(t *testing.T) {
	k := newKit(t, kitOptions{durability: audit.Kernel})
	for _, path := range []string{"dev/a", "dev/b", "dev/c", "prod/a", "prod/admin/x", "prod/b", "prod/c"} {
		k.put(path, "v")
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		k.ask(k.admin, http.MethodPost, "/v1/users/"+name, "{}").want(t, "make user", http.StatusOK)
		k.ask(k.admin, http.MethodPost, "/v1/roles/"+name, "{}").want(t, "make role", http.StatusOK)
	}
	ann := k.user("ann", []string{"p1"}, p1)
	sister, _ := k.create(k.admin, `{"user":"ann","policies":["p1"]}`).made(k)

	list := "/v1/secrets?page_size=2"
	first := k.ask(ann, http.MethodGet, list, "")
	token := first.next()
	if first.status != http.StatusOK || token == "" || pathsIn(first.body) != "dev/a dev/b" {
		t.Fatalf("the first page: %d %s", first.status, first.body)
	}
	with := func(query string) string { return "/v1/secrets?" + query + "&page_token=" + token }
	second := k.ask(ann, http.MethodGet, with("page_size=2"), "")
	if pathsIn(second.body) != "dev/c prod/a" {
		t.Errorf("the second page: %d %s", second.status, second.body)
	}
	k.ask(ann, http.MethodGet, with("page_size=3"), "").want(t, "another size", http.StatusOK)
	k.ask(ann, http.MethodGet, with("page_size=1001"), "").want(t, "too large a size", http.StatusBadRequest)

	for name, row := range map[string]struct{ token, target string }{
		"another user":             {k.admin, with("page_size=2")},
		"another token of hers":    {sister, with("page_size=2")},
		"another prefix":           {ann, with("page_size=2&prefix=prod")},
		"a search":                 {ann, with("page_size=2&search=a")},
		"another list":             {k.admin, "/v1/users?page_token=" + token},
		"the token of users":       {k.admin, "/v1/roles?page_size=2&page_token=" + k.ask(k.admin, http.MethodGet, "/v1/users?page_size=2", "").next()},
		"the token of roles":       {k.admin, "/v1/users?page_size=2&page_token=" + k.ask(k.admin, http.MethodGet, "/v1/roles?page_size=2", "").next()},
		"a record's place":         {k.admin, "/v1/audit/records?page_token=" + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\x00", 16)+"a1"))},
		"records of another user":  {k.admin, "/v1/audit/records?page_size=2&user=ann&page_token=" + k.ask(k.admin, http.MethodGet, "/v1/audit/records?page_size=2", "").next()},
		"records in another order": {k.admin, "/v1/audit/records?page_size=2&oldest_first=true&page_token=" + k.ask(k.admin, http.MethodGet, "/v1/audit/records?page_size=2", "").next()},
		"two tokens":               {ann, with("page_size=2") + "&page_token=" + token},
		"a path":                   {ann, "/v1/secrets?page_token=prod/admin"},
		"padding":                  {ann, with("page_size=2") + "=="},
		"a place without a proof":  {ann, "/v1/secrets?page_token=" + base64.RawURLEncoding.EncodeToString([]byte("prod/a"))},
		"an empty proof":           {ann, "/v1/secrets?page_token=" + base64.RawURLEncoding.EncodeToString(make([]byte, 16))},
	} {
		k.ask(row.token, http.MethodGet, row.target, "").want(t, name, http.StatusBadRequest)
	}

	raw, err := base64.RawURLEncoding.DecodeString(token)
	k.must(err)
	edits := 0
	for i := range raw {
		for _, bit := range []byte{1, 0x80} {
			edited := append([]byte{}, raw...)
			edited[i] ^= bit
			edits++
			k.ask(ann, http.MethodGet, "/v1/secrets?page_size=2&page_token="+base64.RawURLEncoding.EncodeToString(edited), "").want(t, fmt.Sprintf("byte %d edited", i), http.StatusBadRequest)
		}
	}
	for n := range len(token) {
		if cut := k.ask(ann, http.MethodGet, "/v1/secrets?page_size=2&page_token="+token[:n], ""); n > 0 && cut.status != http.StatusBadRequest {
			t.Errorf("cut to %d: %d", n, cut.status)
		}
	}
	// Trailing bits that a decoder may overlook do not make a second spelling.
	last := strings.IndexByte(urlDigits, token[len(token)-1])
	for i := range 64 {
		if i == last {
			continue
		}
		k.ask(ann, http.MethodGet, "/v1/secrets?page_size=2&page_token="+token[:len(token)-1]+urlDigits[i:i+1], "").want(t, "another last digit", http.StatusBadRequest)
	}
	if edits < 40 {
		t.Fatal("nothing was edited")
	}
	// A page token shows nothing that the page did not.
	if strings.Contains(string(raw), "admin") {
		t.Errorf("the page token names what the caller may not see: %q", raw)
	}
}

const urlDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
