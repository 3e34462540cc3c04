policy "a" {
  secret {
    path         = "prod/db_pasword"
    capabilities = ["inject"]
  }

  secret {
    path         = "staging/*"
    capabilities = ["list"]
  }

  secret {
    path         = "users/{{user.name}}/*"
    capabilities = ["list"]
  }

  job {
    path         = "nothing-is-known-of-jobs"
    capabilities = ["list"]
  }
}

policy "b" {
  # heroctl:accept matches-nothing comes next week
  secret {
    path         = "qa/*"
    capabilities = ["list"]
  }
}
