package policytest_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heroctl/heroctl/engine/policytest"
)

// rich is a file with one of everything that can be got wrong.
const rich = `policy "p" {
  job {
    path         = "api/+"
    capabilities = ["run", "redeploy", "stop", "describe", "list"]
  }

  # A comment stays.
  job {
    path         = "web-*"
    capabilities = ["run", "redeploy", "stop", "describe"]

    condition {
      days  = ["mon", "tue", "wed", "thu", "fri", "sat"]
      hours = "08:00-19:00"
    }
  }

  job {
    path         = "+"
    capabilities = []
  }
}

guardrail "g" {
  cluster {
    path = "cluster"
    deny = ["rekey"]

    unless {
      source_cidrs = ["128.0.0.0/1", "::/0"]
    }
  }
}
`

func TestMutants(t *testing.T) {
	files := []policytest.File{file("rich.hcl", rich)}
	var got []string
	for _, m := range policytest.Mutants(files, mustSet(t, files...)) {
		got = append(got, m.String())
	}
	want := strings.Split(strings.TrimSpace(`
rich.hcl:2: drop the rule
rich.hcl:3: widen the segment api to +
rich.hcl:3: widen the segment + to *
rich.hcl:3: swap the patterns of lines 3 and 9
rich.hcl:3: swap the patterns of lines 3 and 19
rich.hcl:4: remove the capability run
rich.hcl:4: remove the capability redeploy
rich.hcl:4: remove the capability stop
rich.hcl:4: remove the capability describe
rich.hcl:4: remove the capability list
rich.hcl:4: add the capability logs
rich.hcl:8: drop the rule
rich.hcl:9: widen the segment web-* to *
rich.hcl:9: narrow the segment web-* to web-
rich.hcl:9: swap the patterns of lines 9 and 19
rich.hcl:10: remove the capability run
rich.hcl:10: remove the capability redeploy
rich.hcl:10: remove the capability stop
rich.hcl:10: remove the capability describe
rich.hcl:10: add the capability list
rich.hcl:10: add the capability logs
rich.hcl:12: drop the condition
rich.hcl:13: drop days
rich.hcl:13: drop mon
rich.hcl:13: drop tue
rich.hcl:13: drop wed
rich.hcl:13: drop thu
rich.hcl:13: drop fri
rich.hcl:13: drop sat
rich.hcl:13: flip days
rich.hcl:14: drop hours
rich.hcl:14: flip hours
rich.hcl:18: drop the deny
rich.hcl:19: widen the segment + to *
rich.hcl:20: add the capability run
rich.hcl:20: add the capability redeploy
rich.hcl:20: add the capability stop
rich.hcl:20: add the capability describe
rich.hcl:20: add the capability list
rich.hcl:20: add the capability logs
rich.hcl:24: drop the guardrail
rich.hcl:26: widen the segment cluster to +
rich.hcl:27: add the capability status
rich.hcl:27: add the capability configure
rich.hcl:27: add the capability metrics
rich.hcl:29: drop the unless
rich.hcl:30: drop 128.0.0.0/1
rich.hcl:30: drop ::/0
rich.hcl:30: flip source_cidrs`), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mutants (-want +got):\n%s", diff)
	}
}

// TestEquivalentMutants makes mistakes that change nothing: they must not be counted.
func TestEquivalentMutants(t *testing.T) {
	files := []policytest.File{file("same.hcl", `policy "p" {
  secret {
    path         = "a"
    capabilities = ["read", "update", "describe"]
  }

  secret {
    path         = "b"
    capabilities = ["update", "read", "rollback"]
  }
}
`)}
	for _, m := range policytest.Mutants(files, mustSet(t, files...)) {
		for _, same := range []string{"capability describe", "capability rollback", "swap"} {
			if strings.Contains(m.What, same) {
				t.Errorf("%s is no mistake:\n%s", m, m.Diff())
			}
		}
	}
}

func TestMutate(t *testing.T) {
	files := []policytest.File{file("deploy.hcl", deploy)}
	set := mustSet(t, files...)
	suite := mustSuite(t, set, file("deploy_test.hcl", `
matrix "all" {
  policies = ["deploy"]
  cases = [
    ["secret:read,list", "prod/web/db", "allow"],
    ["secret:create,update,rollback,delete,undelete,destroy,inject", "prod/db", "deny"],
    ["secret:*", "prod/admin/x", "deny", "explicit_deny"],
    ["secret:read", "dev/db", "deny"],
    ["secret:read", "dev/admin/db", "deny"],
    ["secret:read", "prod/x/db", "allow", "granted", "deploy:2"],
  ]
}
`))
	outcome, err := suite.Mutate(t.Context(), files, set)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := outcome.Text(&text); err != nil {
		t.Fatal(err)
	}
	want := `this mistake would ship: deploy.hcl:8: narrow the segment * to +
diff deploy.hcl deploy.hcl (with the mistake)
--- deploy.hcl
+++ deploy.hcl (with the mistake)
@@ -5,7 +5,7 @@
   }
 
   secret {
-    path         = "prod/admin/*"
+    path         = "prod/admin/+"
     capabilities = []
   }
 }

mutants: 26 of 27 mistakes noticed (96.3 %)
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	again, err := suite.Mutate(t.Context(), files, set)
	if err != nil || !slices.EqualFunc(again.Survivors, outcome.Survivors, func(a, b policytest.Mutant) bool { return a.Diff() == b.Diff() }) {
		t.Errorf("a second run finds others: %v, %v", again.Survivors, err)
	}
	suite.Cases[0].Want.Allow = false
	if _, err := suite.Mutate(t.Context(), files, set); err == nil {
		t.Error("mistakes are made although a test fails")
	}
}

// TestElsewhere holds the complement of networks against asking addresses.
func TestElsewhere(t *testing.T) {
	given := []string{"10.0.0.0/8", "10.20.0.0/16", "192.0.2.7/32", "2001:db8::/32"}
	contains := func(cidrs []string, a netip.Addr) bool {
		return slices.ContainsFunc(cidrs, func(c string) bool { return netip.MustParsePrefix(c).Contains(a) })
	}
	others := policytest.Elsewhere(given)
	for _, text := range []string{
		"9.255.255.255", "10.0.0.0", "10.20.0.1", "10.255.255.255", "11.0.0.0", "0.0.0.0", "255.255.255.255",
		"192.0.2.6", "192.0.2.7", "192.0.2.8", "2001:db7:ffff::", "2001:db8::", "2001:db8:ffff:ffff::1", "2001:db9::", "::", "ffff::",
	} {
		a := netip.MustParseAddr(text)
		if contains(given, a) == contains(others, a) {
			t.Errorf("%s is in both or in neither", a)
		}
	}
}
