matrix "the payments team" {
  use = "payments"
  cases = [
    ["job:*", "api-payments-v2", "allow"],
    ["job:run", "api-billing", "deny"],
    ["secret:create,update,describe,list,inject", "prod/payments/stripe/token", "allow"],
    ["secret:read,delete,undelete,destroy", "prod/payments/stripe", "deny", "capability_missing"],
    ["secret:describe,list,inject", "prod/payments/processor/eu/key", "allow"],
    ["secret:create,update,read,rollback,delete,undelete", "prod/payments/processor/key", "deny"],
    ["secret:create", "prod/payments/processor/eu/key", "deny", "capability_missing"],
    ["secret:destroy", "prod/payments/processor/key", "deny", "guardrail"],
    ["secret:create,update,read,list,delete,undelete,inject", "dev/payments/stripe/token", "allow"],
    ["secret:list", "dev/payments/stripe/token", "allow", "granted", "team-payments-deployer"],
    ["secret:destroy", "dev/payments/stripe", "deny", "capability_missing", "team-payments-deployer"],
    ["secret:describe", "prod/web/key", "deny", "no_rule"],
    ["secret:describe", "prod/web/processor/key", "deny", "no_rule"],
    ["secret:create", "staging/payments/stripe", "deny"],
    ["secret:inject", "qa/payments/stripe", "deny", "no_rule"],
    ["secret:inject", "qa/payments/processor/key", "deny", "no_rule"],
  ]
}

test "the team's own rule counts for its secrets in dev" {
  use    = "payments"
  can    = "secret:read"
  path   = "dev/payments/stripe"
  expect = "allow"
  rule   = "team-payments-deployer:dev/payments/*"
}

test "and not for those of others" {
  use    = "payments"
  can    = "secret:read"
  path   = "dev/web/key"
  expect = "allow"
  rule   = "developers:dev/*"
}

matrix "on call" {
  use = "oncall"
  cases = [
    ["secret:read,list", "prod/payments/stripe", "allow"],
    ["secret:read", "prod/payments/stripe/eu", "allow"],
    ["secret:create,update,rollback,delete,undelete,destroy,inject", "prod/payments/stripe", "deny", "capability_missing"],
    ["secret:*", "prod/payments/processor/key/eu", "deny"],
    ["secret:create,update,read,describe,list,rollback,delete,undelete,inject", "prod/payments/processor/key", "deny", "explicit_deny"],
    ["secret:read", "prod/web/key", "deny", "no_rule"],
    ["secret:read", "dev/payments/stripe", "deny", "no_rule"],
    ["secret:read", "prod/web/processor/key", "deny", "no_rule"],
    ["secret:read", "dev/payments/processor/key", "deny", "no_rule"],
  ]
}

matrix "on call, at the edges of the day" {
  use   = "oncall"
  at    = "2026-03-02T08:00:00-03:00"
  cases = [["secret:read", "prod/payments/stripe", "allow"]]
}

matrix "on call, too early" {
  use   = "oncall"
  at    = "2026-03-02T07:59:59-03:00"
  cases = [["secret:read", "prod/payments/stripe", "deny", "condition_failed"]]
}

matrix "on call, too late" {
  use   = "oncall"
  at    = "2026-03-02T19:00:00-03:00"
  cases = [["secret:read", "prod/payments/stripe", "deny", "condition_failed"]]
}

matrix "on call, on Tuesday" {
  use   = "oncall"
  at    = "2026-03-03T10:00:00-03:00"
  cases = [["secret:read", "prod/payments/stripe", "allow"]]
}

matrix "on call, on Wednesday" {
  use   = "oncall"
  at    = "2026-03-04T10:00:00-03:00"
  cases = [["secret:read", "prod/payments/stripe", "allow"]]
}

matrix "on call, on Thursday" {
  use   = "oncall"
  at    = "2026-03-05T10:00:00-03:00"
  cases = [["secret:read", "prod/payments/stripe", "allow"]]
}

matrix "on call, on Friday" {
  use   = "oncall"
  at    = "2026-03-06T10:00:00-03:00"
  cases = [["secret:read", "prod/payments/stripe", "allow"]]
}

matrix "on call, on Saturday" {
  use   = "oncall"
  at    = "2026-03-07T10:00:00-03:00"
  cases = [["secret:read", "prod/payments/stripe", "deny", "condition_failed"]]
}

matrix "on call, from another network" {
  use   = "oncall"
  from  = "10.30.1.1"
  cases = [["secret:read", "prod/payments/stripe", "deny", "condition_failed"]]
}

matrix "on call, with yesterday's login" {
  use       = "oncall"
  token_age = "13h"
  cases     = [["secret:read", "prod/payments/stripe", "deny", "condition_failed"]]
}
