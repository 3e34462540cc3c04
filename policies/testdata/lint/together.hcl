policy "a" {
  secret {
    path         = "prod/*"
    capabilities = ["list"]
  }

  job {
    path         = "+/x"
    capabilities = ["run"]
  }

  job {
    path         = "y/*"
    capabilities = []
  }
}

policy "b" {
  secret {
    path         = "prod/*"
    capabilities = ["describe"]
  }

  # The ordinary exception: not hidden from b, but from a.
  secret {
    path         = "prod/admin/*"
    capabilities = []
  }
}
