"""Results turned into Markdown for people and pull requests."""
