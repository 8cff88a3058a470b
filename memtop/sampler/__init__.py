"""The loop: one tick → one Sample a process; the interface that screens drive."""
