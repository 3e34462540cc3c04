# The job that rotates database passwords: it writes any secret named db_password, one
# level below an environment or a team, and reads none. update brings rollback along.
policy "database-rotation" {
  description = "Rotates database passwords without reading them"

  secret {
    path         = "+/db_password"
    capabilities = ["update", "describe"]
  }

  secret {
    path         = "+/+/db_password"
    capabilities = ["update", "describe"]
  }
}
