# The decision. Policies are compiled to modules of the package
# heroctl.policy["<name>"], each of which says in "block" which of its blocks cover
# the resource of the input, and guardrails to modules of heroctl.guardrail["<name>"].
# This module, which is the same for every set, lets guardrails deny, then takes the
# blocks of the subject's policies and lets the most specific pattern win.
#
# The input follows AuthZEN 1.0. Its resource id is a canonical heroctl path: no
# empty segment, no dots, no slash at the ends. A block with "unmet" has a condition,
# and the set names the attributes of it that do not hold.
package heroctl.authz

# answer is the decision, with its reason and the rules that settled it, the first by
# policy name in front. On one pattern a denial wins, and grants unite.
answer := {"decision": false, "context": {"reason": "guardrail", "rules": [rule], "unmet": unmet}} if {
	[_, unmet, _, rule] := min(restraining)
} else := {"decision": false, "context": {"reason": "template_value", "rules": suspects}} if {
	suspects[0]
} else := {"decision": false, "context": {"reason": "explicit_deny", "rules": denying}} if {
	denying[0]
} else := {"decision": true, "context": {"reason": "granted", "rules": granting}} if {
	granting[0]
} else := {"decision": false, "context": {"reason": "condition_failed", "rules": [rule], "unmet": unmet}} if {
	[_, unmet, _, rule] := min(failing)
} else := {"decision": false, "context": {"reason": "capability_missing", "rules": winning}} if {
	winning[0]
} else := {"decision": false, "context": {"reason": "no_rule", "rules": []}} if {
	count(matched) == 0
}

# restrictions are the blocks of guardrails that deny the action, whoever asks. Of those
# with the most specific pattern the first by name is told.
restrictions := {[block.rank, block] |
	some block in data.heroctl.guardrail[_].block
	block.denies[input.action.name]
}

restraining := {[block.rule.policy, block.unmet, block.rule.line, block.rule] |
	some [rank, block] in restrictions
	rank == max(restrictions)[0]
}

# suspects are the rules in whose template a value would stand that reads as a pattern.
suspects := [rule | some [_, _, rule] in {[rule.policy, rule.line, rule] | some rule in suspicious}]

suspicious contains rule if {
	some name in input.subject.properties.policies
	some rule in data.heroctl.policy[name].suspect
}

suspicious contains rule if some rule in data.heroctl.guardrail[_].suspect

# matched are the blocks that cover the resource. A set of arrays sorts by rank first,
# then by policy name and by line, whatever the order of the subject's policies.
matched := {[block.rank, name, block.rule.line, block] |
	some name in input.subject.properties.policies
	some block in data.heroctl.policy[name].block
}

# top is the rank of the most specific pattern: ranks are texts whose order is the
# order of priority.
top := max(matched)[0]

# winners are the blocks with that pattern: at most one of each policy and condition.
winners := [block | some [rank, _, _, block] in matched; rank == top]

denying := [block.rule | some block in winners; block.deny]

granting := [block.rule | some block in winners; block.capabilities[input.action.name]; not pending(block)]

winning := [block.rule | some block in winners]

# failing are the winners that would grant if their conditions held.
failing := {[block.rule.policy, block.unmet, block.rule.line, block.rule] |
	some block in winners
	block.capabilities[input.action.name]
	pending(block)
}

# pending is true of a block with a condition that does not hold.
pending(block) if count(block.unmet) > 0
