"""What a machine is told at its first boot."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import yaml
from identities import BARE, FULL, HOST_KEY, KEY, MAC, PLAIN, STATIC
from jinja2 import UndefinedError

from provision.cloudinit import rendering
from provision.cloudinit.seed import EC2_LIMIT, Identity, Nic, cloud_user_data, nocloud_iso, render
from provision.errors import DriverError


def config(identity: Identity, user_data: str | None = None) -> dict[str, Any]:
    text = render(identity, user_data).user_data
    assert text.startswith("#cloud-config\n")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def ethernets(identity: Identity) -> dict[str, Any]:
    found = yaml.safe_load(render(identity).network_config or "")
    assert found["version"] == 2
    assert set(found) == {"version", "ethernets"}
    return dict(found["ethernets"])


def files(identity: Identity) -> dict[str, str]:
    return {file["path"]: file["content"] for file in config(identity)["write_files"]}


# --- user data ---


def test_root_logs_in_with_a_key_and_nobody_with_a_password() -> None:
    found = config(PLAIN)
    assert found["users"] == [{"name": "root", "lock_passwd": True, "ssh_authorized_keys": [KEY]}]
    assert found["disable_root"] is False
    assert found["ssh_pwauth"] is False
    assert files(PLAIN) == {"/etc/ssh/sshd_config.d/50-cloud-init.conf": "PasswordAuthentication no\n"}


def test_another_user_gets_sudo_without_a_password() -> None:
    (user,) = config(FULL)["users"]
    assert user["name"] == "ops"
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"
    assert user["ssh_authorized_keys"] == [KEY, "ssh-ed25519 AAAA2 someone's <key> & more é"]
    assert config(FULL)["disable_root"] is True


def test_the_host_key_is_the_only_one() -> None:
    found = config(PLAIN)
    assert found["ssh_deletekeys"] is True
    assert found["ssh_keys"] == {"ed25519_private": HOST_KEY.private, "ed25519_public": HOST_KEY.public + "\n"}


def test_without_a_host_key_the_machine_makes_one_of_the_same_kind() -> None:
    found = config(BARE)
    assert "ssh_keys" not in found
    assert found["ssh_genkeytypes"] == ["ed25519"]


def test_nobody_may_log_in_where_no_key_is_known() -> None:
    assert "ssh_authorized_keys" not in config(BARE)["users"][0]


def test_a_private_key_ends_with_the_end_of_a_line() -> None:
    key = replace(HOST_KEY, private=HOST_KEY.private.rstrip("\n"))
    assert config(replace(PLAIN, host_key=key))["ssh_keys"]["ed25519_private"] == HOST_KEY.private


def test_the_name_resolves_on_the_machine_itself() -> None:
    found = config(FULL)
    assert (found["hostname"], found["fqdn"]) == ("lab-worker-1", "lab-worker-1.lab.internal")
    assert found["preserve_hostname"] is False
    assert found["manage_etc_hosts"] == "localhost"
    assert config(PLAIN)["fqdn"] == "lab-worker-1"


def test_the_port_and_other_hosts_are_there_before_sshd_starts() -> None:
    assert files(FULL)["/etc/ssh/sshd_config.d/20-port.conf"] == "Port 2222\n"
    assert files(FULL)["/etc/hosts"] == "192.0.2.9 registry.example registry\n"
    (hosts,) = [file for file in config(FULL)["write_files"] if file["path"] == "/etc/hosts"]
    assert hosts["append"] is True


def test_no_package_is_asked_for_and_the_disk_grows_in_the_background() -> None:
    found = config(PLAIN)
    assert (found["package_update"], found["package_upgrade"]) == (False, False)
    assert found["growpart"] == {"mode": "auto", "devices": ["/"]}
    assert found["resize_rootfs"] == "noblock"


@pytest.mark.parametrize("name", ["no", "1e3", "0x10", "~", "a: b", "x # y", "{{ name }}", "😀"])
def test_no_value_is_taken_for_yaml_or_for_a_template(name: str) -> None:
    odd = replace(FULL, name=name, domain=None, user=name, nics=(replace(STATIC, name=name),))
    assert config(odd)["hostname"] == name
    assert config(odd)["users"][0]["name"] == name
    assert yaml.safe_load(render(odd).meta_data)["local-hostname"] == name
    assert list(ethernets(odd)) == [name]


def test_the_templates_refuse_what_is_not_defined() -> None:
    with pytest.raises((UndefinedError, TypeError), match="ndefined"):
        rendering._fill("meta-data", name="lab-worker-1")


# --- meta data and network ---


def test_the_instance_id_is_the_given_one() -> None:
    assert yaml.safe_load(render(PLAIN).meta_data) == {
        "instance-id": "lab-worker-1-7f",
        "local-hostname": "lab-worker-1",
    }


def test_a_nic_is_told_by_its_mac_and_has_its_address_from_the_start() -> None:
    assert ethernets(replace(PLAIN, nics=(STATIC,))) == {
        "nic0": {
            "match": {"macaddress": MAC},
            "dhcp4": False,
            "dhcp6": False,
            "addresses": ["10.80.3.7/24"],
            "routes": [{"to": "0.0.0.0/0", "via": "10.80.3.1"}],
            "nameservers": {"addresses": ["10.80.3.1"]},
        }
    }


def test_several_nics() -> None:
    found = ethernets(FULL)
    assert list(found) == ["nic0", "lan", "nic2"]
    assert found["nic0"]["nameservers"] == {"addresses": ["10.80.3.1"], "search": ["lab.internal"]}
    assert found["lan"]["match"] == {"macaddress": "52:54:00:0a:0b:0d"}
    assert found["lan"]["set-name"] == "lan"
    assert found["lan"]["routes"] == [{"to": half, "via": "fd00:1::1"} for half in ("::/1", "8000::/1")]
    assert found["lan"]["optional"] is True
    assert found["nic2"]["dhcp4"] is True


def test_a_nic_without_a_mac_is_told_by_its_name() -> None:
    found = ethernets(replace(PLAIN, nics=(Nic(name="ens3"),)))
    assert "match" not in found["ens3"]
    with pytest.raises(ValueError, match="MAC or a name"):
        render(replace(PLAIN, nics=(Nic(),)))


def test_without_nics_the_image_decides() -> None:
    assert render(PLAIN).network_config is None


# --- carriers ---


def test_no_private_key_in_what_is_printed_of_a_seed() -> None:
    assert "c2VjcmV0" in render(PLAIN).user_data
    assert "c2VjcmV0" not in repr(render(PLAIN))


def read_iso(image: bytes) -> dict[str, str]:
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found = {}
    for name in ("user-data", "meta-data", "network-config"):
        content = io.BytesIO()
        try:
            iso.get_file_from_iso_fp(content, rr_path=f"/{name}")
        except pycdlib.pycdlibexception.PyCdlibInvalidInput:
            continue
        joliet = io.BytesIO()
        iso.get_file_from_iso_fp(joliet, joliet_path=f"/{name}")
        assert joliet.getvalue() == content.getvalue()
        found[name] = content.getvalue().decode()
    iso.close()
    return found


def test_the_seed_as_a_disk() -> None:
    seed = render(FULL)
    image = nocloud_iso(seed)
    assert read_iso(image) == {
        "user-data": seed.user_data,
        "meta-data": seed.meta_data,
        "network-config": seed.network_config,
    }
    assert image[32768:].startswith(b"\x01CD001")
    assert image[32808:32840].strip(b" \0") == b"cidata"
    assert len(image) % 2048 == 0
    assert set(read_iso(nocloud_iso(render(PLAIN)))) == {"user-data", "meta-data"}


def test_a_cloud_gets_the_user_data_as_long_as_it_fits() -> None:
    assert cloud_user_data(PLAIN, limit=EC2_LIMIT) == render(PLAIN).user_data
    long = "#cloud-config\nfinal_message: " + "é" * 8192
    with pytest.raises(DriverError, match=r"lab-worker-1: its user data is \d+ bytes long, .* takes 16384"):
        cloud_user_data(PLAIN, long, limit=EC2_LIMIT)
    assert cloud_user_data(PLAIN, long)
