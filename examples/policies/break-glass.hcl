# For the night when everything is down: all of production, with a token that is at most
# fifteen minutes old, so that each use of the glass is a new one in the trail. Attach it
# to a role that nobody holds from day to day.
policy "break-glass" {
  description = "Everything in production, for fifteen minutes"

  secret {
    path         = "prod/*"
    capabilities = ["create", "update", "read", "list"]

    condition {
      token_max_age = "15m"
    }
  }

  job {
    path         = "prod-*"
    capabilities = ["redeploy", "stop", "describe", "list", "logs"]

    condition {
      token_max_age = "15m"
    }
  }
}
