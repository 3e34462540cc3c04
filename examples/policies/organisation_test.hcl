# The people of the organisation, shared by the tests of all files.
role "auditor" {
  policies = ["auditor"]
}

role "developer" {
  policies = ["developers"]
}

role "payments" {
  policies = ["developers", "team-payments-deployer"]
}

fixture "auditor" {
  user  = "rosa"
  roles = ["auditor"]
  from  = "10.20.1.1"
}

fixture "developer" {
  user  = "ana"
  roles = ["developer"]
  from  = "10.20.1.1"
}

fixture "payments" {
  user  = "bruno"
  roles = ["payments"]
  from  = "10.20.1.1"
}

fixture "pipeline" {
  user     = "ci"
  policies = ["deploy-prod-secrets"]
  from     = "10.30.0.4"
}

fixture "rotation" {
  user     = "rotator"
  policies = ["database-rotation"]
  from     = "10.30.0.5"
}

# Monday, 2 March 2026, 10:00 in São Paulo.
fixture "oncall" {
  user      = "carla"
  policies  = ["payments-oncall"]
  at        = "2026-03-02T10:00:00-03:00"
  from      = "10.20.1.1"
  token_age = "1h"
}

fixture "firefighter" {
  user      = "dora"
  policies  = ["break-glass"]
  at        = "2026-03-01T03:00:00Z"
  from      = "10.20.1.1"
  token_age = "5m"
}

fixture "administrator" {
  user  = "root"
  roles = ["admin"]
  from  = "10.20.1.1"
}
