"""The SSH door to a machine: reaching it, asking it once, changing it once."""
