# What the deploy pipeline may do in production: the policy of the guide, as it
# stands there.
policy "deploy-prod-secrets" {
  description = "What the deploy pipeline may do in production"

  secret {
    path         = "prod/*"
    capabilities = ["read", "list"]
  }

  secret {
    path         = "prod/admin/*"
    capabilities = [] # explicit deny: not even list
  }
}
