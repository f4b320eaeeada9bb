"""Configurations for other programs, both ways where a program has a file to read: one module a program.

`tools` lists the programs and writes for them, `recognition` reads a file of any of them. What a program calls the same
value stands with the setting's declaration; its module holds what is said by other values, and how it is laid out.
"""
