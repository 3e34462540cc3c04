policy "a" {
  description = "café"
}
