# bär: umlauts are fine here
policy "a" {
  description = "Acesso à produção"
  secret {
    path         = "café"
    capabilities = ["réad"]
  }
  sécret {
  }
}
policy "café" {
}
