"""The command line: one file per command. Each parses its options, calls the other packages and prints."""
