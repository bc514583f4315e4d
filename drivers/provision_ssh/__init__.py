"""The ssh driver: machines that already run, adopted as they are."""

from provision_ssh.driver import SshDriver

__all__ = ["SshDriver"]
