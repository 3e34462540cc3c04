policy "grants" {
  secret {
    path         = "prod/*"
    capabilities = ["describe"]
  }
}

policy "denies" {
  secret {
    path         = "prod/*"
    capabilities = []
  }
}

policy "both" {
  secret {
    path         = "dev/*"
    capabilities = []
  }

  secret {
    path         = "dev/*"
    capabilities = ["list"]

    condition {
      days = ["mon"]
    }
  }
}
