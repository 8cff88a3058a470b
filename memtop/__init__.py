"""memtop shows, live in a terminal, what a Linux process does to its memory."""

# Written out: importlib.metadata would cost 34 ms at every start.
__version__ = "0.1.0"
