"""Whole operations on a cluster, as the command line calls them and as a program may: open, plan, run, tidy up."""
