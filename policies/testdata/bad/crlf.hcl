policy "a" {
  sercet {
	}
}
