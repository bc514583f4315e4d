"""What an inventory may say to the libvirt driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision_libvirt.options import LibvirtOptions


def refused(**values: Any) -> str:
    with pytest.raises(ValueError, match=r"validation error") as caught:
        LibvirtOptions.model_validate(values)
    return str(caught.value)


def test_defaults_are_the_systems_hypervisor_and_a_network_of_ones_own() -> None:
    options = LibvirtOptions()
    assert (options.uri, options.accel, options.boot) == ("qemu:///system", "auto", "cold")
    assert options.network is None


def test_what_was_dumped_is_taken_again() -> None:
    options = LibvirtOptions.model_validate(
        {
            "network": {"bridge": "br0", "addresses": "10.0.0.10-10.0.0.20/24", "nameservers": ["10.0.0.1"]},
            "networks": [{"name": "storage"}],
            "disks": [{"size": "20GiB"}, {"size": 2**30, "format": "raw"}],
            "kernel": "vmlinuz",
        },
        context={"folder": Path("/inventory")},
    )
    assert options.kernel == "/inventory/vmlinuz"
    assert [disk.size for disk in options.disks] == [20 * 2**30, 2**30]
    assert LibvirtOptions.model_validate(options.model_dump()) == options


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"network": {}}, "by `name` or by `bridge`"),
        ({"network": {"name": "a", "bridge": "b"}}, "by `name` or by `bridge`"),
        ({"network": {"bridge": "br0"}}, "needs `addresses`"),
        ({"network": {"bridge": "br0", "addresses": "10.0.0.9-10.0.0.5/24"}}, "the lower one first"),
        ({"network": {"bridge": "br0", "addresses": "10.0.0.0-10.0.0.5/24"}}, "within the hosts"),
        ({"network": {"bridge": "br0", "addresses": "10.0.0.10-10.0.1.5/24"}}, "within the hosts"),
        ({"network": {"bridge": "br0", "addresses": "10.0.0.10"}}, "no range"),
        ({"network": {"bridge": "br0", "addresses": "10.0.0.10-10.0.0.20/40"}}, "no range"),
        (
            {"network": {"bridge": "b", "addresses": "10.0.0.5-10.0.0.9/24", "gateway": "10.0.1.1"}},
            "not in 10.0.0.0/24",
        ),
        ({"network": {"name": "a", "gateway": "somewhere"}}, "gateway"),
        ({"network": {"name": "a"}, "subnet": "10.1.0.0/24"}, "leave out `subnet` or `network`"),
        ({"subnet": "8.8.8.0/24"}, "private"),
        ({"subnet": "10.0.0.0/30"}, "between /16 and /28"),
        ({"initrd": "x"}, "`initrd` needs `kernel`"),
        ({"kernel": "x", "direct_boot": False}, "is a direct boot"),
        ({"cmdline": "quiet"}, "set `direct_boot: true` too"),
        ({"disks": [{"size": "much"}]}, "a size is a number and a unit"),
        ({"disks": [{"size": "1K"}]}, "greater than or equal"),
        ({"uri": "qemu:///session"}, "does not name the system's hypervisor"),
        ({"uri": "qemu+ssh://host/system?no_verify=1"}, "would trust any host key"),
        ({"accell": "kvm"}, "accell"),
    ],
)
def test_mistakes_are_refused(values: dict[str, Any], words: str) -> None:
    assert words in refused(**values)
