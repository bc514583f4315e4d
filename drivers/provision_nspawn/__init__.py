"""Driver `nspawn`: booted systemd-nspawn containers as hosts for labs, on one Linux machine."""

from provision_nspawn.driver import NspawnDriver

__all__ = ["NspawnDriver"]
