policy "a" {
  secret {
    path         = "users/{{user.nam}}/*"
    capabilities = ["read"]
  }

  secret {
    path         = "users/{{ user.name }}"
    capabilities = ["read"]
  }

  secret {
    path         = "users/x-{{user.name}}"
    capabilities = ["read"]
  }

  secret {
    path         = "users/{{user.name}}*"
    capabilities = ["read"]
  }

  secret {
    path         = "users/{{user.name}}/*"
    capabilities = ["read"]
  }

  secret {
    path         = "users/{{user.name}}/*"
    capabilities = ["list"]
  }

  secret {
    path         = "users/${user.name}"
    capabilities = ["list"]
  }
}
