# The payments team runs its own jobs. The secrets go straight into the jobs: the team
# sees that they are there and keeps them current, and reads no value of production.
policy "team-payments-deployer" {
  description = "Runs the payments jobs and cares for their secrets"

  job {
    path         = "api-payments*"
    capabilities = ["run", "redeploy", "stop", "describe", "list", "logs"]
  }

  secret {
    path         = "prod/payments/*"
    capabilities = ["create", "update", "describe", "list", "inject"]
  }

  # The card processor's keys are rotated by the security team alone.
  secret {
    path         = "prod/payments/processor/*"
    capabilities = ["describe", "list", "inject"]
  }

  secret {
    path         = "dev/payments/*"
    capabilities = ["create", "update", "read", "list", "delete", "undelete", "inject"]
  }
}
