"""What this machine remembers of a cluster: intent, keys, logs and history. A cache; the truth is at the provider."""
