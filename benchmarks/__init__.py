"""How fast the assignment is, beside everything a user would pick instead. Run `python -m benchmarks --help`."""
