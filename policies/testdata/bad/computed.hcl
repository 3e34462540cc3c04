policy "a" {
  description = upper("x")

  secret {
    path         = "prod/${1 + 1}"
    capabilities = ["read"]
  }

  secret {
    path         = "prod/%{ for x in [1] }x%{ endfor }"
    capabilities = ["read"]
  }

  secret {
    path         = lower("PROD")
    capabilities = concat(["read"], ["list"])
  }

  secret {
    path         = ("prod")
    capabilities = [for v in ["read"] : v]
  }
}
