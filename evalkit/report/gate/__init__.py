"""The regression gate's verdicts: table, sentences, JUnit XML, GitHub annotations."""
