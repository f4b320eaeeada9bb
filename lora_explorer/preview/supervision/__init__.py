"""Runs as processes: the line they wait in, the worker and its limits, how they ended, what is kept."""
