"""Observing the world and carrying plans out. Whatever waits, connects or changes is here; nothing here decides."""
