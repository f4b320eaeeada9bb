"""Short training runs, for real: a recipe trained for a few dozen steps in a process of its own.

Importing this package does not load torch.
"""
