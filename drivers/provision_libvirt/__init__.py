"""Driver libvirt: virtual machines of QEMU, on this machine or on a hypervisor reached by SSH."""

from provision_libvirt.driver import LibvirtDriver

__all__ = ["LibvirtDriver"]
