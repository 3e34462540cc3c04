# Developers own dev, look at staging, and have a place of their own everywhere under
# users/. Of production they see that the jobs run.
policy "developers" {
  description = "Owns dev, runs staging, watches production"

  secret {
    path         = "dev/*"
    capabilities = ["create", "update", "read", "list", "delete", "undelete", "inject"]
  }

  secret {
    path         = "staging/*"
    capabilities = ["describe", "list", "inject"]
  }

  secret {
    path         = "users/{{user.name}}/*"
    capabilities = ["create", "update", "read", "list", "delete", "undelete"]
  }

  job {
    path         = "*"
    capabilities = ["describe", "list"]
  }

  job {
    path         = "dev-*"
    capabilities = ["run", "redeploy", "stop", "describe", "list", "logs"]
  }

  job {
    path         = "staging-*"
    capabilities = ["run", "redeploy", "describe", "list", "logs"]
  }
}
