policy "a" {
  secret {
    path         = "a/*"
    capabilities = ["read"]

    condition "office" {
    }
  }

  secret {
    path         = "b/*"
    capabilities = ["read"]

    condition {
      source_cidrs  = ["10.0.0.0/33", "10.1.2.3", "10.1.2.3/8", "::ffff:10.0.0.0/104", "10.0.0.0/8", "10.0.0.0/8"]
      hours         = "8-19"
      days          = ["monday", "mon", "mon"]
      timezone      = "America/Sao_Paolo"
      token_max_age = "12 hours"
      auth_method   = ["password"]
      not_before    = "2026-03-01"
      not_after     = "tomorrow"
    }
  }

  secret {
    path         = "c/*"
    capabilities = []

    condition {
      source_cidrs = []
      hours        = "08:00-08:00"
      days         = "mon"
      timezone     = "Local"
    }

    condition {
      cidrs = ["10.0.0.0/8"]

      inner {
      }
    }

    conditon {
    }
  }

  secret {
    path         = "d/*"
    capabilities = ["read"]

    condition {
      timezone   = "Europe/Berlin"
      not_before = "2026-03-01T00:00:00Z"
      not_after  = "2026-02-28T23:59:59Z"
    }
  }

  secret {
    path         = "e/*"
    capabilities = ["read"]

    condition {
      hours = "24:00-06:00"
    }
  }

  secret {
    path         = "f/*"
    capabilities = ["read"]

    condition {
      hours    = 8
      days     = ["tue"]
      timezone = "Europe/Berlin"
    }
  }

  secret {
    path         = "f/*"
    capabilities = ["list"]

    condition {
      days     = ["tue"]
      timezone = "Europe/Berlin"
      hours    = "08:60-09:00"
    }
  }

  secret {
    path         = "g/*"
    capabilities = ["read"]

    condition {
      source_cidrs = ["10.0.0.0/8", "192.0.2.0/24"]
    }
  }

  secret {
    path         = "g/*"
    capabilities = ["list"]

    condition {
      source_cidrs = ["192.0.2.0/24", "10.0.0.0/8"]
    }
  }

  secret {
    path         = "h/*"
    capabilities = ["list"]

    unless {
      hours = "08:00-19:00"
    }
  }
}
