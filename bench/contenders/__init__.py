"""Four ways to do the same work: a shell script, pyinfra, Ansible, and provision."""
