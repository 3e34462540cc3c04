# Nothing to say: the ordinary forms.
policy "deploy" {
  secret {
    path         = "prod/*"
    capabilities = ["list", "inject"]
  }

  secret {
    path         = "prod/admin/*"
    capabilities = []
  }

  secret {
    path         = "users/{{user.name}}/*"
    capabilities = ["create", "update"]
  }
}
