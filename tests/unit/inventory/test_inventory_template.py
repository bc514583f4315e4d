"""What `provision init` writes is an inventory."""

from __future__ import annotations

import pytest

from provision.driver import Role
from provision.errors import UsageError
from provision.inventory.template import render


@pytest.mark.parametrize(("managers", "workers"), [(3, 2), (1, 0), (5, 1)])
@pytest.mark.parametrize("driver", ["fake", "ssh"])
def test_it_loads_and_has_the_machines(load_text, driver, managers, workers):
    cluster = load_text(render(name="demo", driver=driver, managers=managers, workers=workers))
    counts = {Role.MANAGER: 0, Role.WORKER: 0}
    for group in cluster.groups:
        counts[group.role] += group.count
    assert counts == {Role.MANAGER: managers, Role.WORKER: workers}


def test_hosts_are_managers_first(load_text):
    hosts = ["root@10.0.0.1:22", "[2001:db8::2]:22", "c.example"]
    cluster = load_text(render(name="demo", driver="ssh", managers=1, hosts=hosts))
    assert [[h.address for h in g.hosts] for g in cluster.groups] == [["10.0.0.1"], ["2001:db8::2", "c.example"]]


def test_the_comments_hold_valid_keys(load_text, tmp_path):
    """What stands in comments can be taken out of them."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/hello.yml").touch()
    (tmp_path / "home/.ssh").mkdir(parents=True)
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    (tmp_path / "home/.ssh/id_ed25519.pub").write_text(key)
    for driver in ("fake", "ssh"):
        text = render(name="demo", driver=driver)
        head, machines, rest = text.partition("\nmachines:")
        uncommented = rest.replace("\n# ", "\n").replace("\n#  ", "\n ").replace("    # labels", "    labels")
        cluster = load_text(head + machines + uncommented)
        assert cluster.stacks[0].name == "hello"
        assert cluster.ssh.authorized_keys == (key,)
        assert cluster.groups[1].labels == {"tier": "web"}


def test_nspawn_names_its_image():
    assert render(name="demo", driver="nspawn").count("image: debian-12") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Demo", "driver": "fake"}, "'Demo' is not a name"),
        ({"name": "demo", "driver": "fake", "managers": 0}, "one manager at least"),
        ({"name": "demo", "driver": "fake", "hosts": ["a"]}, "takes no hosts"),
        ({"name": "demo", "driver": "ssh", "managers": 3, "hosts": ["a"]}, "3 managers need 3 hosts, not 1"),
        ({"name": "demo", "driver": "ssh", "managers": 1, "hosts": ["a:b"]}, "'b' is not a port"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments, message):
    with pytest.raises(UsageError, match=message):
        render(**arguments)
