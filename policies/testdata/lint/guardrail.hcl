policy "reader" {
  secret {
    path         = "prod/admin/db"
    capabilities = ["read"]
  }

  secret {
    path         = "prod/admin/key"
    capabilities = ["inject"]
  }

  secret {
    path         = "dev/db"
    capabilities = ["read"]
  }
}

guardrail "no-values" {
  secret {
    path = "prod/*"
    deny = ["read"]
  }

  secret {
    path = "+/admin/+"
    deny = ["describe", "inject"]
  }

  secret {
    path = "dev/*"
    deny = ["read", "describe"]

    unless {
      source_cidrs = ["10.0.0.0/8"]
    }
  }
}
