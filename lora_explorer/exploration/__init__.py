"""Exploring by prediction: sweeps, searches, advice, what a setting does from here, and settings for a drawn adapter.

Plain functions over frozen values. Importing this package does not load torch; asking does.
"""
