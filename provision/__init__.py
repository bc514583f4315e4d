"""From one inventory file to a running Docker Swarm."""

__version__ = "0.1.0"
