# prod/* is the more specific one of the two: it has fewer "+".
policy "quirk" {
  secret {
    path         = "prod/*"
    capabilities = ["describe"]
  }

  secret {
    path         = "prod/+/admin/*"
    capabilities = []
  }
}

policy "union" {
  job {
    path         = "a/*"
    capabilities = ["run"]
  }

  job {
    path         = "a/+"
    capabilities = ["stop"]
  }

  job {
    path         = "a/+/*"
    capabilities = ["logs"]
  }
}

policy "union-of-two" {
  user {
    path         = "+"
    capabilities = ["list"]
  }

  # A conditional grant holds its pattern all the same.
  audit {
    path         = "a/*"
    capabilities = ["read"]

    condition {
      hours = "08:00-19:00"
    }
  }

  audit {
    path         = "a/+/b/*"
    capabilities = ["read"]
  }
}

# A conditional denial is no sure shadow.
policy "not-sure" {
  secret {
    path         = "b/*"
    capabilities = []

    condition {
      source_cidrs = ["10.0.0.0/8"]
    }
  }

  secret {
    path         = "b/+/c/*"
    capabilities = ["list"]
  }
}
