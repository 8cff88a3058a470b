"""Dumps of a process's memory: page sources (a process, a snapshot chain), page sinks (core, snapshot).

``engine`` copies while the process runs, follows what it writes, and stops it only for the end. See
docs/dumps.md.
"""
