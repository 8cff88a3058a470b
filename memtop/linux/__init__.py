"""One module a kernel interface: typed, without policy, every errno turned into words."""
