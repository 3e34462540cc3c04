policy "a" {
  secret {
    path         = "prod/*"
    capabilities = ["read"]
  }

  job {
    path         = "prod/*"
    capabilities = ["run"]
  }

  secret {
    path         = "prod/*"
    capabilities = ["list", "list"]
  }

  secret {
    path         = "dev/*"
    capabilities = ["read", "deny"]
  }
}
