matrix "developers" {
  use = "developer"
  cases = [
    ["secret:create,update,read,list,delete,undelete,inject", "dev/web/key", "allow"],
    ["secret:destroy", "dev/web/key", "deny", "capability_missing"],
    ["secret:describe,list,inject", "staging/web/key", "allow"],
    ["secret:create,update,read,rollback,delete,undelete,destroy", "staging/web/key", "deny"],
    ["secret:*", "prod/web/key", "deny", "no_rule"],
    ["job:describe,list", "prod-web", "allow"],
    ["job:describe", "prod-web/canary", "allow"],
    ["job:run,redeploy,stop,logs", "prod-web", "deny", "capability_missing"],
    ["job:*", "dev-web", "allow"],
    ["job:run,redeploy,describe,list,logs", "staging-web", "allow"],
    ["job:stop", "staging-web", "deny"],
    ["job:run", "dev-", "allow", "granted", "developers:dev-*"],
  ]
}

matrix "a place of one's own" {
  use = "developer"
  cases = [
    ["secret:create,update,read,list,delete,undelete", "users/ana/notes/token", "allow"],
    ["secret:destroy,inject", "users/ana/notes", "deny"],
    ["secret:*", "users/bruno/notes", "deny", "no_rule"],
    ["secret:*", "groups/ana/notes", "deny", "no_rule"],
  ]
}
