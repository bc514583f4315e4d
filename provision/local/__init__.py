"""This machine: running its programs, and locks on its folders. For drivers and images, which work on it."""
