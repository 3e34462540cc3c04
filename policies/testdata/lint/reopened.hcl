# The denial is meant for every database, and loses to the grant on the application.
policy "app" {
  secret {
    path         = "kv/+/db"
    capabilities = []
  }

  secret {
    path         = "kv/app/*"
    capabilities = ["read"]
  }
}

# The exception lies within the denial.
policy "exception" {
  job {
    path         = "*"
    capabilities = ["deny"]
  }

  job {
    path         = "api-*"
    capabilities = ["run"]
  }
}

policy "closed" {
  secret {
    path         = "team/+/key"
    capabilities = []
  }
}

policy "other" {
  secret {
    path         = "team/a/*"
    capabilities = ["describe"]
  }

  # Nothing is reopened: db is closed again.
  secret {
    path         = "team/a/key"
    capabilities = []
  }

  secret {
    path         = "team/b/*"
    capabilities = ["list"]

    condition {
      source_cidrs = ["10.0.0.0/8"]
    }
  }
}
