"""The command line: one file a verb. Each parses, calls and prints; what it knows stands elsewhere."""
