"""The swarm as the Engine API shows it: one typed wrapper over the docker SDK, through SSH channels."""
