# Runs the cluster: jobs, keys, backups, alerts. Sees which secrets there are and can
# put an earlier version back, but never sees a value, and manages no users.
policy "operator" {
  description = "Jobs, keys and backups; no secret values, no user management"

  secret {
    path         = "*"
    capabilities = ["describe", "list", "rollback", "undelete", "inject"]
  }

  job {
    path         = "*"
    capabilities = ["run", "redeploy", "stop", "describe", "list", "logs"]
  }

  policy {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  audit {
    path         = "*"
    capabilities = ["read", "verify"]
  }

  alert {
    path         = "*"
    capabilities = ["describe", "list", "acknowledge"]
  }

  backup {
    path         = "*"
    capabilities = ["create", "list", "verify", "restore"]
  }

  cluster {
    path         = "*"
    capabilities = ["status", "rekey", "configure", "metrics"]
  }
}
