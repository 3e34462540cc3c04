policy "nothing" {
}

policy "globs" {
  secret {
    path         = "prod*"
    capabilities = ["list"]
  }

  secret {
    path         = "team-*"
    capabilities = ["list"]
  }

  job {
    path         = "api*"
    capabilities = ["run"]
  }
}

policy "reads" {
  secret {
    path         = "+/db_password"
    capabilities = ["read", "describe"]
  }

  secret {
    path         = "prod/*"
    capabilities = ["read", "update", "rollback"]
  }

  secret {
    path         = "prod/payments/*"
    capabilities = ["read", "update"]
  }
}

policy "impossible" {
  policy {
    path         = "prod/*"
    capabilities = ["list"]
  }

  token {
    path         = "ana"
    capabilities = ["list"]
  }

  cluster {
    path         = "main"
    capabilities = ["status"]
  }

  user {
    path         = "{{user.name}}"
    capabilities = ["describe"]
  }
}
