# Looks at jobs, metrics and health, and sees no secrets, not even their names.
policy "viewer" {
  description = "Lists and describes jobs, metrics and health; sees no secrets"

  job {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  cluster {
    path         = "*"
    capabilities = ["status", "metrics"]
  }
}
