"""The command line. Imports of what a command needs stand inside it: `provision --help` must not wait for SSH."""
