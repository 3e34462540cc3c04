# Whoever is on call for payments may read its production secrets, as PCI DSS wants it:
# on working days, from the office network, with a fresh login. The processor's keys stay
# out of reach.
policy "payments-oncall" {
  description = "Reads payments secrets of production in office hours, from the office"

  secret {
    path         = "prod/payments/*"
    capabilities = ["read", "list"]

    condition {
      source_cidrs  = ["10.20.0.0/16"]
      days          = ["mon", "tue", "wed", "thu", "fri"]
      hours         = "08:00-19:00"
      timezone      = "America/Sao_Paulo"
      token_max_age = "12h"
    }
  }

  secret {
    path         = "prod/payments/processor/*"
    capabilities = []
  }
}
