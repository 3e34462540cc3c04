# Everything, everywhere, secret values included. Give it to few people; a read of
# a value is recorded with the name of who read it.
policy "admin" {
  description = "Everything, secret values included"

  secret {
    path         = "*"
    capabilities = ["create", "update", "read", "describe", "list", "rollback", "delete", "undelete", "destroy", "inject"]
  }

  job {
    path         = "*"
    capabilities = ["run", "redeploy", "stop", "describe", "list", "logs"]
  }

  policy {
    path         = "*"
    capabilities = ["create", "update", "describe", "list", "delete", "attach", "test", "explain", "bind"]
  }

  guardrail {
    path         = "*"
    capabilities = ["create", "update", "describe", "list", "delete", "attach", "test", "explain"]
  }

  role {
    path         = "*"
    capabilities = ["create", "update", "describe", "list", "delete", "bind"]
  }

  user {
    path         = "*"
    capabilities = ["create", "update", "describe", "list", "delete"]
  }

  token {
    path         = "*"
    capabilities = ["create", "update", "describe", "list", "delete", "revoke", "renew"]
  }

  audit {
    path         = "*"
    capabilities = ["read", "export", "verify", "explain"]
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
