"""Configurations for other programs: one module a program. Axolotl's is also read."""
