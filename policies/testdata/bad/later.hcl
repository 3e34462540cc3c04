guardrail "no-prod-from-outside" {
  secret {
    path = "prod/*"
    deny = ["read"]
  }
}

policy "a" {
  secret {
    path         = "users/{{user.name}}/*"
    capabilities = ["read"]
  }

  secret {
    path         = "prod/*"
    capabilities = ["read"]

    condition {
      source_cidrs = ["10.0.0.0/8"]
    }

    unless {
    }
  }
}
