"""cloud-init: what a machine is told at its first boot, and what it says of it afterwards."""
