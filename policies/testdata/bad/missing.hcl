policy {
}

policy "a" "b" {
}

policy "c" {
  secret {
  }

  secret "prod/*" {
    capabilities = "read"
  }

  secret {
    path         = 42
    capabilities = [read]
  }
}

description = "none"
