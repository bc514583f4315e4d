"""The swarm as the Engine API shows it: one typed wrapper over its HTTP, through SSH channels."""
