"""The command line: one file per command. Each parses its options, calls the other rooms and prints."""
