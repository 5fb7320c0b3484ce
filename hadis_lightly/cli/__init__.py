"""Commands for people who do not want to write code."""
