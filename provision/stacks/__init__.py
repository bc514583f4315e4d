"""Stacks: what is deployed, how it is sent, what was deployed, and when it has converged."""
