"""What memtop talks about: frozen values, no kernel, no screen.

Every other layer may import this one; it imports none of them.
"""
