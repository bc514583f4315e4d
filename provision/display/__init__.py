"""What a user sees of a run, and how data is printed. Displays read `provision.events` and nothing else."""
