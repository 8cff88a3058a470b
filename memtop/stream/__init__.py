"""Samples as text: JSON lines for programs, tables for people. No screen, no kernel."""
