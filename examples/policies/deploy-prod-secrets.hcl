# What the deploy pipeline may do with the secrets of production: read and list them,
# except those of the administrators, which it may not even list.
policy "deploy-prod-secrets" {
  description = "Reads production secrets, except those of the administrators"

  secret {
    path         = "prod/*"
    capabilities = ["read", "list"]
  }

  secret {
    path         = "prod/admin/*"
    capabilities = [] # not even list
  }
}
