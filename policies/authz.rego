# The decision. Policies are compiled to modules of the package
# heroctl.policy["<name>"], each of which says in "block" which of its blocks cover
# the resource of the input. This module, which is the same for every set, takes the
# blocks of the subject's policies and lets the most specific pattern win.
#
# The input follows AuthZEN 1.0. Its resource id is a canonical heroctl path: no
# empty segment, no dots, no slash at the ends.
package heroctl.authz

# answer is the decision, with its reason and the rules that settled it, the first by
# policy name in front. On one pattern a denial wins, and grants unite.
answer := {"decision": false, "context": {"reason": "explicit_deny", "rules": denying}} if {
	denying[0]
} else := {"decision": true, "context": {"reason": "granted", "rules": granting}} if {
	granting[0]
} else := {"decision": false, "context": {"reason": "capability_missing", "rules": winning}} if {
	winning[0]
} else := {"decision": false, "context": {"reason": "no_rule", "rules": []}} if {
	count(matched) == 0
}

# matched are the blocks that cover the resource. A set of arrays sorts by rank first
# and by policy name next, whatever the order of the subject's policies.
matched := {[block.rank, name, block] |
	some name in input.subject.properties.policies
	some block in data.heroctl.policy[name].block
}

# top is the rank of the most specific pattern: ranks are texts whose order is the
# order of priority.
top := max(matched)[0]

# winners are the blocks with that pattern: at most one of each policy.
winners := [block | some [rank, _, block] in matched; rank == top]

denying := [block.rule | some block in winners; block.deny]

granting := [block.rule | some block in winners; block.capabilities[input.action.name]]

winning := [block.rule | some block in winners]
