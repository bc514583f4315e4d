"""How a machine is reached: the inventory, then the user's ssh config, then ssh's own defaults."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.driver import Machine, MachineState
from provision.errors import UsageError
from provision.hosts import target as module
from provision.hosts.target import Hop, target_of
from provision.inventory.cluster import SshSettings

ME = getpass.getuser()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """`config(text)`: the user's ssh config."""
    file = tmp_path / "ssh_config"
    monkeypatch.setenv("PROVISION_SSH_CONFIG", str(file))

    def write(text: str) -> None:
        file.write_text(text.replace("KEYS", str(tmp_path)))
        module._user_config.cache_clear()

    for name in ("own", "config", "inventory"):
        (tmp_path / name).write_text("a key")
    module._user_config.cache_clear()
    yield write
    module._user_config.cache_clear()


def machine(address: str | None = "10.0.0.1", **fields: Any) -> Machine:
    return Machine(
        cluster="lab",
        name="web1",
        group="web",
        number=1,
        driver="ssh",
        state=MachineState.RUNNING,
        address=address,
        **fields,
    )


def test_without_any_config_ssh_defaults_hold(config: Callable[[str], None]) -> None:
    found = target_of(machine(), SshSettings(), made=False)
    assert (found.address, found.port, found.user, found.alias) == ("10.0.0.1", 22, ME, "10.0.0.1")
    assert (found.hops, found.proxy_command, found.identity_files) == ((), None, ())
    assert found.known_hosts == ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


CONFIG = """\
Host web
    HostName web.example
    User alice
    Port 2222
    IdentityFile KEYS/config
    IdentityFile KEYS/missing
    UserKnownHostsFile KEYS/known1 KEYS/known2
"""


def test_the_users_config_is_honoured(config: Callable[[str], None], tmp_path: Path) -> None:
    config(CONFIG)
    found = target_of(machine("web"), SshSettings(), made=False)
    assert (found.address, found.port, found.user, found.alias) == ("web.example", 2222, "alice", "web.example")
    assert found.identity_files == (str(tmp_path / "config"),)
    assert found.known_hosts == (f"{tmp_path}/known1", f"{tmp_path}/known2", "/etc/ssh/ssh_known_hosts")


def test_the_inventory_wins_over_the_config_and_the_machine_over_the_cluster(
    config: Callable[[str], None], tmp_path: Path
) -> None:
    config(CONFIG)
    ssh = SshSettings(user="bob", port=2200, identity_file=str(tmp_path / "inventory"))
    found = target_of(machine("web"), ssh, made=False)
    assert (found.address, found.port, found.user) == ("web.example", 2200, "bob")
    assert found.identity_files == (str(tmp_path / "inventory"), str(tmp_path / "config"))
    own = machine("web", user="carol", port=22000, identity_file=str(tmp_path / "own"))
    found = target_of(own, ssh, made=False)
    assert (found.port, found.user, found.identity_files[0]) == (22000, "carol", str(tmp_path / "own"))


def test_an_alias_names_the_host_in_known_hosts(config: Callable[[str], None]) -> None:
    config("Host web\n    HostName 10.0.0.7\n    HostKeyAlias web-in-the-cellar\n")
    assert target_of(machine("web"), SshSettings(), made=False).alias == "web-in-the-cellar"


def test_a_made_machine_is_none_of_the_users_config(config: Callable[[str], None]) -> None:
    config("Host *\n    User alice\n    Port 2222\n    ProxyJump bastion\n    ProxyCommand nc %h %p\n")
    found = target_of(machine(), SshSettings(user="bob", port=2200), made=True)
    assert (found.address, found.port, found.user, found.made) == ("10.0.0.1", 22, "root", True)
    assert (found.hops, found.proxy_command) == ((), None)


def test_jump_hosts_are_looked_up_in_the_order_of_travel(config: Callable[[str], None], tmp_path: Path) -> None:
    config("Host bastion\n    HostName b.example\n    User hopper\n    Port 2022\n    IdentityFile KEYS/config\n")
    found = target_of(machine(jump="bastion,root@10.9.9.9:2200, [fd00::1]"), SshSettings(), made=False)
    assert found.hops == (
        Hop(
            address="b.example",
            port=2022,
            user="hopper",
            alias="b.example",
            identity_files=(str(tmp_path / "config"),),
        ),
        Hop(address="10.9.9.9", port=2200, user="root", alias="10.9.9.9"),
        Hop(address="fd00::1", port=22, user=ME, alias="fd00::1"),
    )


@pytest.mark.parametrize(
    ("of_machine", "of_cluster", "of_config", "chosen"),
    [
        ("m.example", "c.example", "u.example", "m.example"),
        (None, "c.example", "u.example", "c.example"),
        (None, None, "u.example", "u.example"),
        ("none", "c.example", "u.example", None),
        (None, None, "none", None),
    ],
)
def test_the_nearest_jump_wins_and_none_is_none(
    config: Callable[[str], None], of_machine: str | None, of_cluster: str | None, of_config: str, chosen: str | None
) -> None:
    config(f"Host 10.0.0.1\n    ProxyJump {of_config}\n")
    found = target_of(machine(jump=of_machine), SshSettings(jump=of_cluster), made=False)
    assert [hop.address for hop in found.hops] == ([chosen] if chosen else [])


def test_a_proxy_command_counts_where_there_is_no_jump(config: Callable[[str], None]) -> None:
    config("Host 10.0.0.1\n    ProxyCommand nc %h %p\n")
    assert target_of(machine(), SshSettings(), made=False).proxy_command == "nc 10.0.0.1 22"
    assert target_of(machine(jump="b.example"), SshSettings(), made=False).proxy_command is None


def test_a_machine_without_an_address_cannot_be_reached(config: Callable[[str], None]) -> None:
    with pytest.raises(UsageError, match="web1 has no address"):
        target_of(machine(None), SshSettings(), made=True)
