# Values of production do not leave the company's networks, whoever asks and whatever
# the policies grant. The host itself counts as inside.
guardrail "no-prod-values-from-outside" {
  description = "Production values are read from inside only"

  secret {
    path = "prod/*"
    deny = ["read"]

    unless {
      source_cidrs = ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]
    }
  }
}

# Nobody erases a card processor's key for good, administrators included. Deleting it can
# be undone, and takes it out of use just as well.
guardrail "keep-processor-keys" {
  description = "The card processor's keys are never destroyed"

  secret {
    path = "+/payments/processor/*"
    deny = ["destroy"]
  }
}
