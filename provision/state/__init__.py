"""What this machine remembers of a cluster: intent, keys, logs, history. The truth is at the provider."""
