# fine ‮ ereh
policy "a" {
  description = "zero​width"
}
# bell 
policy "b" {
  description = "\u202e"
}
