# Runs jobs and lets them have their secrets, and never reads a value. To bind a
# deployer to a scope, copy this policy and write the scope into the paths.
policy "deployer" {
  description = "Runs jobs and injects secrets into them; reads no values"

  secret {
    path         = "*"
    capabilities = ["inject"]
  }

  job {
    path         = "*"
    capabilities = ["run", "redeploy", "stop", "describe", "list", "logs"]
  }
}
