policy "a" {
  description = <<EOT
two
lines
EOT
}
