matrix "the pipeline" {
  use = "pipeline"
  cases = [
    ["secret:read,list", "prod/db_password", "allow"],
    ["secret:list", "prod/web/key", "allow"],
    ["secret:create,update,rollback,delete,undelete,destroy,inject", "prod/db_password", "deny", "capability_missing"],
    ["secret:*", "prod/admin/root", "deny"],
    ["secret:list,describe,inject", "prod/admin/root/key", "deny", "explicit_deny"],
    ["secret:*", "dev/db_password", "deny", "no_rule"],
    ["secret:list", "dev/admin/root", "deny", "no_rule"],
  ]
}

matrix "the rotation" {
  use = "rotation"
  cases = [
    ["secret:update,describe,rollback", "prod/db_password", "allow"],
    ["secret:update,describe,rollback", "prod/web/db_password", "allow"],
    ["secret:create,read,list,delete,undelete,destroy,inject", "prod/db_password", "deny"],
    ["secret:create,read,list,delete,undelete,destroy,inject", "prod/web/db_password", "deny"],
    ["secret:update", "prod/api_token", "deny", "no_rule"],
    ["secret:update", "prod/web/api_token", "deny", "no_rule"],
    ["secret:update", "prod/web/eu/db_password", "deny", "no_rule"],
  ]
}

test "the rotation of a team is its own rule" {
  use    = "rotation"
  can    = "secret:update"
  path   = "prod/web/db_password"
  expect = "allow"
  rule   = "database-rotation:+/+/db_password"
}

matrix "break glass" {
  use = "firefighter"
  cases = [
    ["secret:create,update,read,list", "prod/web/key", "allow"],
    ["secret:delete,undelete,destroy,inject", "prod/web/key", "deny", "capability_missing"],
    ["secret:read", "dev/web/key", "deny", "no_rule"],
    ["job:redeploy,stop,describe,list,logs", "prod-web", "allow"],
    ["job:describe", "prod-web/canary", "allow"],
    ["job:run", "prod-web", "deny", "capability_missing"],
    ["job:stop", "dev-web", "deny", "no_rule"],
  ]
}

matrix "a stale piece of glass" {
  use       = "firefighter"
  token_age = "16m"
  cases = [
    ["secret:read", "prod/web/key", "deny"],
    ["secret:list", "prod/web/key", "deny", "condition_failed"],
    ["job:stop", "prod-web", "deny", "condition_failed"],
  ]
}

matrix "no value of production leaves the company" {
  use  = "administrator"
  from = "203.0.113.7"
  cases = [
    ["secret:read", "prod/db_password", "deny", "guardrail", "no-prod-values-from-outside"],
    ["secret:read", "prod/web/key", "deny", "guardrail"],
    ["secret:create,update,describe,list,rollback,delete,undelete,destroy,inject", "prod/db_password", "allow"],
    ["secret:read", "dev/db_password", "allow"],
  ]
}

matrix "inside, even an administrator's read is fine" {
  use = "administrator"
  cases = [
    ["secret:read", "prod/db_password", "allow"],
    ["secret:destroy", "prod/payments/processor/key", "deny", "guardrail", "keep-processor-keys"],
    ["secret:destroy", "dev/payments/processor/eu/key", "deny", "guardrail"],
    ["secret:create,update,read,describe,list,rollback,delete,undelete,inject", "prod/payments/processor/key", "allow"],
    ["secret:destroy", "prod/payments/stripe", "allow"],
    ["secret:destroy", "prod/payments/web/key", "allow"],
    ["secret:destroy", "prod/web/processor/key", "allow"],
  ]
}

test "the host itself is inside" {
  use    = "administrator"
  from   = "127.0.0.1"
  can    = "secret:read"
  path   = "prod/db_password"
  expect = "allow"
}

test "in both of its addresses" {
  use    = "administrator"
  from   = "::1"
  can    = "secret:read"
  path   = "prod/db_password"
  expect = "allow"
}
