# heroctl:accept empty-policy kept for its history
policy "accepted" {
}

policy "b" {
  # The old names still exist.
  # heroctl:accept prefix-glob the names prod-eu and prod-us are meant
  secret {
    path         = "prod*"
    capabilities = ["list"]
  }

  # heroctl:accept prefix-glob
  secret {
    path         = "dev*"
    capabilities = ["list"]
  }

  // heroctl:accept prefx-glob a typo
  secret {
    path         = "staging/*"
    capabilities = ["list"]
  }

  # heroctl:accept

  # heroctl:accept prefix-glob not directly above

  # heroctl:accept prefix-glob there is none
  # heroctl:accept matches-nothing not known offline
  secret {
    path         = "test/*"
    capabilities = ["list"]
  }
}
