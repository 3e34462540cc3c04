# Compiled from policy forms.of_path-s.
package heroctl.policy["forms.of_path-s"]

# line 2: secret *
block contains {
	"rank": "000 open 16 001 *",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 2,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
}

# line 6: secret +
block contains {
	"rank": "000 shut 15 001 +",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 6,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	input.resource.id != ""
	glob.match("*", ["/"], input.resource.id)
}

# line 10: secret a
block contains {
	"rank": "999 shut 16 001 a",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 10,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	input.resource.id == "a"
}

# line 14: secret a/b
block contains {
	"rank": "999 shut 16 003 a/b",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 14,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	input.resource.id == "a/b"
}

# line 18: secret a*
block contains {
	"rank": "001 open 16 002 a*",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 18,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "a")
}

# line 22: secret a/*
block contains {
	"rank": "002 open 16 003 a/*",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 22,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "a/")
}

# line 26: secret a/b*
block contains {
	"rank": "003 open 16 004 a/b*",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 26,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "a/b")
}

# line 30: secret +/*
block contains {
	"rank": "000 open 15 003 +/*",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 30,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	glob.match("*/**", ["/"], input.resource.id)
}

# line 34: secret a/+
block contains {
	"rank": "002 shut 15 003 a/+",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 34,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	glob.match("a/*", ["/"], input.resource.id)
}

# line 38: secret a/+/b
block contains {
	"rank": "002 shut 15 005 a/+/b",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 38,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	glob.match("a/*/b", ["/"], input.resource.id)
}

# line 42: secret a/+/*
block contains {
	"rank": "002 open 15 005 a/+/*",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 42,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "a/")
	glob.match("a/*/**", ["/"], input.resource.id)
}

# line 46: secret a/+/b*
block contains {
	"rank": "002 open 15 006 a/+/b*",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 46,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	startswith(input.resource.id, "a/")
	glob.match("a/*/b**", ["/"], input.resource.id)
}

# line 50: secret +/+/a.b-c_d*
block contains {
	"rank": "000 open 14 012 +/+/a.b-c_d*",
	"rule": {
		"policy": "forms.of_path-s",
		"digest": "1d7cbd49621d0444fe60001d391156c78dfdecf0ccf12437cc5f755ee9c136af",
		"line": 50,
	},
	"deny": false,
	"capabilities": {
		"secret:create",
		"secret:read",
		"secret:describe",
	},
} if {
	input.resource.type == "secret"
	glob.match("*/*/a.b-c_d**", ["/"], input.resource.id)
}
