# Auditors read the trail and see what is there: names, owners, versions, rules. They
# see no values and change nothing.
policy "auditor" {
  description = "Reads the trail, the policies and the metadata; sees no values"

  audit {
    path         = "*"
    capabilities = ["read", "export", "verify", "explain"]
  }

  secret {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  policy {
    path         = "*"
    capabilities = ["describe", "list", "test", "explain"]
  }

  role {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  user {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  token {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  alert {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  cluster {
    path         = "cluster"
    capabilities = ["status"]
  }
}
