"""The built-in workload of ``memtop demo``: one process that shows every pattern of writing."""
