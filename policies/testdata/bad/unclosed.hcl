policy "a" {
  secret {
    path = "prod/*"
