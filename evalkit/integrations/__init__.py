"""Other tools beside evalkit; each is imported only when it is used."""
