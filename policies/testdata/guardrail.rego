# Compiled from guardrail if.
package heroctl.guardrail["if"]

# line 2: secret {{job.name}}/{{user.name}}/*
block contains {
	"rank": "000 open 16 028 {{job.name}}/{{user.name}}/*",
	"rule": {
		"policy": "if",
		"digest": "cdc2063e58adf4aefa8ff1274bc33b55735721db34337a4b8a51d18acfba3479",
		"line": 2,
	},
	"denies": {
		"secret:read",
		"secret:inject",
	},
	"unmet": unmet_2,
} if {
	input.resource.type == "secret"
	glob.match("*/*/**", ["/"], input.resource.id)
	split(input.resource.id, "/")[0] == input.subject.properties.job
	split(input.resource.id, "/")[1] == input.subject.id
	count(unmet_2) > 0
}

# line 2: a value that reads as a pattern
suspect contains {
	"policy": "if",
	"digest": "cdc2063e58adf4aefa8ff1274bc33b55735721db34337a4b8a51d18acfba3479",
	"line": 2,
} if {
	input.resource.type == "secret"
	glob.match("*/*/**", ["/"], input.resource.id)
	some value in [input.subject.properties.job, input.subject.id]
	some mark in ["*", "+", "/"]
	contains(value, mark)
}

# line 2: what of its exception does not hold
unmet_2 contains "hours" if not hours_2

hours_2 if input.context.zones.UTC.minute >= 0

# line 11: job *
block contains {
	"rank": "000 open 16 001 *",
	"rule": {
		"policy": "if",
		"digest": "cdc2063e58adf4aefa8ff1274bc33b55735721db34337a4b8a51d18acfba3479",
		"line": 11,
	},
	"denies": {"job:run"},
	"unmet": set(),
} if {
	input.resource.type == "job"
}
