polcy "a" {}

policy "b" {
  descripton = "x"

  sercet {
    path         = "prod/*"
    capabilities = ["read"]
  }

  secret {
    pth          = "prod/*"
    capabilites  = ["read"]
  }

  secret {
    path         = "prod/*"
    capabilities = ["raed", "write", "run", "list"]
  }

  job {
    path         = "api"
    capabilities = ["submit", "quux"]
  }
}
