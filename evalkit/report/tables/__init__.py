"""Results as tables and documents: terminal, Markdown, LaTeX, CSV, JSON."""
