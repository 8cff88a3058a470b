"""Proof that an injection never harms: targets that check themselves, and memtop killed at every point."""
