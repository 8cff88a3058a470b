"""Dumps of a process's memory.

Page sources (a process, a snapshot chain) meet page sinks (ELF core, snapshot, CRIU images). ``engine``
copies while the process runs, follows what it writes, and stops it only for the end. See docs/dumps.md.
"""
