policy "a" {
  secret {
    path = 'prod/*'
    capabilities = ["read"]
  }
  secret {
    path = "dev/*"
    path = "test/*"
    capabilities = ["read"
  }
}
