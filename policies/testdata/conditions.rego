# Compiled from policy everything.
package heroctl.policy.everything

# line 2: secret prod/{{user.name}}/*
block contains {
	"rank": "005 open 16 020 prod/{{user.name}}/*",
	"rule": {
		"policy": "everything",
		"digest": "4ca0eb2479fa3da68367577b195283677b1f0357247e7a2577618110cbaa16ae",
		"line": 2,
	},
	"deny": false,
	"capabilities": {
		"secret:read",
		"secret:describe",
		"secret:list",
	},
	"unmet": unmet_2,
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "prod/")
	glob.match("prod/*/**", ["/"], input.resource.id)
	split(input.resource.id, "/")[1] == input.subject.id
}

# line 2: a value that reads as a pattern
suspect contains {
	"policy": "everything",
	"digest": "4ca0eb2479fa3da68367577b195283677b1f0357247e7a2577618110cbaa16ae",
	"line": 2,
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "prod/")
	glob.match("prod/*/**", ["/"], input.resource.id)
	some value in [input.subject.id]
	some mark in ["*", "+", "/"]
	contains(value, mark)
}

# line 2: what of its condition does not hold
unmet_2 contains "auth_method" if not auth_method_2

unmet_2 contains "days" if not days_2

unmet_2 contains "hours" if not hours_2

unmet_2 contains "not_after" if not not_after_2

unmet_2 contains "not_before" if not not_before_2

unmet_2 contains "source_cidrs" if not source_cidrs_2

unmet_2 contains "token_max_age" if not token_max_age_2

auth_method_2 if input.context.auth_method == "token"

days_2 if {
	input.context.zones["America/Sao_Paulo"].minute >= 360
	input.context.zones["America/Sao_Paulo"].day in {"mon", "fri"}
}

days_2 if {
	input.context.zones["America/Sao_Paulo"].minute < 360
	input.context.zones["America/Sao_Paulo"].day in {"tue", "sat"}
}

hours_2 if input.context.zones["America/Sao_Paulo"].minute >= 1320

hours_2 if input.context.zones["America/Sao_Paulo"].minute < 360

not_after_2 if input.context.time <= "2026-04-01T00:00:00.000000Z"

not_before_2 if input.context.time >= "2026-03-01T03:00:00.000000Z"

source_cidrs_2 if {
	some network in [
		"10.0.0.0/8",
		"192.0.2.0/24",
		"2001:db8::/32",
	]
	net.cidr_contains(network, input.context.source)
}

token_max_age_2 if input.context.token_age <= 43200

# line 18: secret dev/*
block contains {
	"rank": "004 open 16 005 dev/*",
	"rule": {
		"policy": "everything",
		"digest": "4ca0eb2479fa3da68367577b195283677b1f0357247e7a2577618110cbaa16ae",
		"line": 18,
	},
	"deny": true,
	"capabilities": set(),
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "dev/")
	auth_method_18
	days_18
	hours_18
	not_before_18
	source_cidrs_18
	token_max_age_18
}

# not known, so it holds for a denial
auth_method_18 if not input.context.auth_method

auth_method_18 if input.context.auth_method == "token"

# not known, so it holds for a denial
days_18 if not input.context.zones.UTC

days_18 if input.context.zones.UTC.day == "sun"

# not known, so it holds for a denial
hours_18 if not input.context.zones.UTC

hours_18 if {
	input.context.zones.UTC.minute >= 480
	input.context.zones.UTC.minute < 1140
}

not_before_18 if input.context.time >= "2026-03-01T00:00:00.000000Z"

# not known, so it holds for a denial
source_cidrs_18 if not input.context.source

source_cidrs_18 if {
	some network in ["192.0.2.0/24"]
	net.cidr_contains(network, input.context.source)
}

# not known, so it holds for a denial
token_max_age_18 if not input.context.token_age

token_max_age_18 if input.context.token_age <= 3600

# line 32: job {{job.name}}
block contains {
	"rank": "000 shut 16 012 {{job.name}}",
	"rule": {
		"policy": "everything",
		"digest": "4ca0eb2479fa3da68367577b195283677b1f0357247e7a2577618110cbaa16ae",
		"line": 32,
	},
	"deny": false,
	"capabilities": {"job:run"},
	"unmet": unmet_32,
} if {
	input.resource.type == "job"
	input.resource.id != ""
	glob.match("*", ["/"], input.resource.id)
	split(input.resource.id, "/")[0] == input.subject.properties.job
}

# line 32: a value that reads as a pattern
suspect contains {
	"policy": "everything",
	"digest": "4ca0eb2479fa3da68367577b195283677b1f0357247e7a2577618110cbaa16ae",
	"line": 32,
} if {
	input.resource.type == "job"
	input.resource.id != ""
	glob.match("*", ["/"], input.resource.id)
	some value in [input.subject.properties.job]
	some mark in ["*", "+", "/"]
	contains(value, mark)
}

# line 32: what of its condition does not hold
unmet_32 contains "days" if not days_32

unmet_32 contains "hours" if not hours_32

days_32 if input.context.zones["Etc/GMT+3"].day in {"sat", "sun"}

hours_32 if input.context.zones["Etc/GMT+3"].minute >= 720
