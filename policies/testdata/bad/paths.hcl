policy "a" {
  secret {
    path         = "prod/+*"
    capabilities = ["read"]
  }
  secret {
    path         = "prod/*/db"
    capabilities = ["read"]
  }
  secret {
    path         = "prod//db"
    capabilities = ["read"]
  }
  secret {
    path         = "/prod"
    capabilities = ["read"]
  }
  secret {
    path         = "../prod"
    capabilities = ["read"]
  }
  secret {
    path         = ""
    capabilities = ["read"]
  }
  secret {
    path         = "prod/a+"
    capabilities = ["read"]
  }
  secret {
    path         = "prod\\db"
    capabilities = ["read"]
  }
}
