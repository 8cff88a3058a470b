"""Whole pages of the terminal."""
