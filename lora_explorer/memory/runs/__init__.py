"""Runs and their families: one trace per shape, and laws that give other batches, lengths and ranks exactly."""
