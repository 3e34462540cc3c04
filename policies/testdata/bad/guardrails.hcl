guardrail "no-verbs" {
  secret {
    path = "prod/*"
    deny = []
  }

  secret {
    path = "dev/*"
    deny = ["raed", "deny", "read", "read"]
  }

  secret {
    path         = "stage/*"
    capabilities = ["read"]
  }

  secret {
    path = "test/*"
  }

  secret {
    path = "a"
    deny = ["read"]

    condition {
      hours = "08:00-19:00"
    }

    unles {
    }

    unless {
    }
  }

  secret {
    path = "b"
    deny = "read"
  }

  owner = "me"
}

guardrail "locks-itself" {
  guardrail {
    path = "locks-*"
    deny = ["update", "delete"]
  }
}

guardrail "locks-itself-in-two-blocks" {
  guardrail {
    path = "*"
    deny = ["update"]
  }

  guardrail {
    path = "+"
    deny = ["create", "delete"]
  }
}

guardrail {
}

policy "No-Verbs" {
  secret {
    path = "a"
    deny = ["read"]
  }
}
