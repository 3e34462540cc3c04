# The decision. Policies are compiled to modules of the package
# heroctl.policy["<name>"], each of which says in "block" which of its blocks cover
# the resource of the input. This module, which is the same for every set, takes the
# blocks of the subject's policies and lets the most specific pattern win.
#
# The input follows AuthZEN 1.0. Its resource id is a canonical heroctl path: no
# empty segment, no dots, no slash at the ends.
package heroctl.authz

# answer is the decision, with its reason and the rules that settled it, the first by
# policy name in front.
answer := {
	"decision": reason == "granted",
	"context": {"reason": reason, "rules": rules},
}

# attached are the names of the subject's policies.
attached := {name | some name in input.subject.properties.policies}

# matched are the blocks that cover the resource, by policy.
matched[name] := blocks if {
	some name in attached
	blocks := data.heroctl.policy[name].block
	count(blocks) > 0
}

# top is the rank of the most specific pattern: the text whose order is the priority.
top := max({block.rank | some block in matched[_]})

# winners are the blocks with that pattern: at most one of each policy.
winners[name] := block if {
	some name, blocks in matched
	some block in blocks
	block.rank == top
}

denying := {name | some name, block in winners; block.deny}

granting := {name | some name, block in winners; input.action.name in block.capabilities}

# reason is the class of the decision. On one pattern a denial wins, and grants unite.
reason := "no_rule" if {
	count(winners) == 0
} else := "explicit_deny" if {
	count(denying) > 0
} else := "granted" if {
	count(granting) > 0
} else := "capability_missing"

settling := denying if {
	reason == "explicit_deny"
} else := granting if {
	reason == "granted"
} else := object.keys(winners)

rules := [rule |
	some name in settling
	rule := {
		"policy": name,
		"digest": data.heroctl.policy[name].digest,
		"line": winners[name].line,
	}
]
