matrix "auditors read the trail and what is there" {
  use = "auditor"
  cases = [
    ["audit:*", "prod/db_password", "allow"],
    ["audit:*", "prod", "allow"],
    ["secret:describe,list", "prod/db_password", "allow"],
    ["secret:describe", "prod", "allow"],
    ["secret:create,update,read,rollback,delete,undelete,destroy,inject", "prod/db_password", "deny", "capability_missing"],
    ["policy:describe,list,test,explain", "auditor", "allow"],
    ["policy:describe", "team/payments", "allow"],
    ["policy:create,update,delete,attach,bind", "auditor", "deny"],
    ["role:describe,list", "auditor", "allow"],
    ["role:describe", "team/payments", "allow"],
    ["role:create,update,delete,bind", "auditor", "deny"],
    ["user:describe,list", "ana", "allow"],
    ["user:describe", "team/ana", "allow"],
    ["user:create,update,delete", "ana", "deny"],
    ["token:describe,list", "ana/a1", "allow"],
    ["token:create,update,delete,revoke,renew", "ana/a1", "deny"],
    ["alert:describe,list", "late-backup", "allow"],
    ["alert:describe", "backup/late", "allow"],
    ["alert:acknowledge", "late-backup", "deny"],
    ["cluster:status", "cluster", "allow"],
    ["cluster:rekey,configure,metrics", "cluster", "deny"],
    ["cluster:status", "elsewhere", "deny", "no_rule"],
    ["job:*", "api-payments", "deny", "no_rule"],
  ]
}
