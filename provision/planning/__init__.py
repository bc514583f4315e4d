"""From what is wanted and what was observed to the steps between them. Everything here is pure."""
