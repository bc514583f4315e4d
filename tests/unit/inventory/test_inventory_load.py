"""From YAML to values: what is understood, and what of it."""

from __future__ import annotations

import pytest

from provision.driver import HostEntry, Role
from provision.errors import UsageError
from provision.inventory.advice import warnings
from provision.inventory.cluster import Availability, EngineInstall
from provision.inventory.load import load
from provision.inventory.specs import availability_for, engine_for, labels_for

SMALL = "name: lab\ndriver: fake\nmachines:\n  manager: {role: manager}\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me"


def test_the_smallest_inventory_has_one_manager(load_text, tmp_path):
    cluster = load_text(SMALL)
    (group,) = cluster.groups
    assert (cluster.name, cluster.source) == ("lab", tmp_path / "inventory.yml")
    assert (group.role, group.count, group.driver) == (Role.MANAGER, 1, "fake")
    assert group.options == {"region": "here", "zones": None, "storage": {"kind": "ssd"}, "folder": ""}
    assert cluster.drivers == {"fake": {}}
    assert cluster.firewall


def test_a_variable_gets_the_type_of_its_text(load_text):
    cluster = load_text(SMALL.replace("{role: manager}", "\n    role: manager\n    count: ${N:-3}"))
    assert cluster.groups[0].count == 3
    cluster = load_text(SMALL.replace("{role: manager}", '{role: manager, count: "${N}"}'), N="5")
    assert cluster.groups[0].count == 5


def test_a_substituted_label_stays_a_string(load_text):
    text = SMALL.replace("{role: manager}", "\n    role: manager\n    labels:\n      version: ${V}")
    assert load_text(text, V="1.10").groups[0].labels == {"version": "1.10"}


def test_substitution_holds_in_daemon_values_too(load_text):
    text = SMALL + "engine:\n  daemon: {log-opts: {tag: '${T}$$x'}, mtu: 1400}\n"
    daemon = load_text(text, T="a").groups[0].engine.daemon
    assert daemon == {"log-opts": {"tag": "a$x"}, "mtu": 1400}


def test_yaml_1_1_traps_are_strings(load_text):
    text = SMALL.replace("{role: manager}", "{role: manager, labels: {on: yes, at: 22:22, id: 007, d: 2020-01-01}}")
    assert load_text(text).groups[0].labels == {"on": "yes", "at": "22:22", "id": "007", "d": "2020-01-01"}


def test_merge_keys_and_aliases_work_and_own_keys_win(load_text):
    text = """
name: lab
driver: fake
x-base: &base {count: 3, cpus: 2, labels: &labels {tier: web}}
machines:
  x-note: ignored
  manager:
    <<: *base
    role: manager
    count: 1
    x-why: ignored too
  worker: {role: worker, labels: *labels}
"""
    manager, worker = load_text(text).groups
    assert (manager.count, manager.cpus, manager.labels) == (1, 2.0, {"tier": "web"})
    assert worker.labels == {"tier": "web"}


def test_labels_env_and_daemon_may_have_keys_that_begin_with_x(load_text):
    text = SMALL.replace("{role: manager}", "{role: manager, labels: {x-a: b}, engine: {daemon: {x-c: {x-d: 1}}}}")
    (group,) = load_text(text).groups
    assert group.labels == {"x-a": "b"}
    assert group.engine.daemon == {"x-c": {"x-d": 1}}


@pytest.mark.parametrize("size", ["2GiB", "2G", "2048M", "2g", "2GB", "'2 GiB'", str(2**31)])
def test_sizes_are_bytes(load_text, size):
    assert load_text(SMALL.replace("{role: manager}", f"{{role: manager, memory: {size}}}")).groups[0].memory == 2**31


def test_a_groups_options_go_over_the_drivers(load_text, tmp_path):
    text = SMALL.replace("{role: manager}", "{role: manager, zones: 3, folder: f}")
    cluster = load_text(text + "drivers:\n  fake: {region: there, zones: 1}\n")
    options = cluster.groups[0].options
    assert (options["region"], options["zones"], options["folder"]) == ("there", 3, str(tmp_path / "f"))
    assert cluster.drivers == {"fake": {"region": "there", "zones": 1}}


def test_daemon_is_merged_deep_and_null_takes_away(load_text):
    text = """
name: lab
driver: fake
engine: {install: none, daemon: {debug: true, log-opts: {max-size: 1m, max-file: "3"}}}
machines:
  manager:
    role: manager
    count: 2
    labels: {a: x, b: x}
    engine: {daemon: {debug: null, log-opts: {max-size: 2m}}}
    overrides:
      2: {labels: {b: y}, availability: drain, engine: {daemon: {log-opts: {max-file: "9"}}}}
"""
    (group,) = load_text(text).groups
    assert engine_for(group, 1).daemon == {"log-opts": {"max-size": "2m", "max-file": "3"}}
    assert engine_for(group, 2).daemon == {"log-opts": {"max-size": "2m", "max-file": "9"}}
    assert engine_for(group, 2).install is EngineInstall.NONE
    assert (labels_for(group, 1), labels_for(group, 2)) == ({"a": "x", "b": "x"}, {"a": "x", "b": "y"})
    assert availability_for(group, 1) is Availability.ACTIVE
    assert availability_for(group, 2) is Availability.DRAIN


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("example.org", HostEntry(address="example.org")),
        ("me@10.0.0.1:2222", HostEntry(address="10.0.0.1", user="me", port=2222)),
        ("'[2001:db8::1]:22'", HostEntry(address="2001:db8::1", port=22)),
        ("root@2001:db8::1", HostEntry(address="2001:db8::1", user="root")),
        ("{address: a, private_address: 10.1.1.1}", HostEntry(address="a", private_address="10.1.1.1")),
    ],
)
def test_hosts_have_a_short_and_a_long_form(load_text, text, entry):
    cluster = load_text(f"name: lab\ndriver: ssh\nmachines:\n  m:\n    role: manager\n    hosts:\n      - {text}\n")
    assert cluster.groups[0].hosts == (entry,)
    assert cluster.groups[0].count == 1


def test_authorized_keys_are_the_users_own_by_default(load_text, tmp_path):
    folder = tmp_path / "home/.ssh"
    folder.mkdir(parents=True)
    (folder / "id_ed25519.pub").write_text(KEY + "\n")
    (folder / "junk.pub").write_text("junk")
    assert load_text(SMALL).ssh.authorized_keys == (KEY,)
    assert load_text(SMALL + "ssh: {authorized_keys: []}\n").ssh.authorized_keys == ()
    assert load_text(SMALL, HOME=str(tmp_path / "nobody")).ssh.authorized_keys == ()


def test_authorized_keys_are_lines_or_files(load_text, tmp_path):
    (tmp_path / "team.pub").write_text(f"# the team\n{KEY}1\n\n{KEY}2\n")
    text = SMALL + f"ssh: {{authorized_keys: [team.pub, {KEY}, {KEY}]}}\n"
    assert load_text(text).ssh.authorized_keys == (KEY + "1", KEY + "2", KEY)


def test_stacks_paths_are_absolute_and_env_files_read(load_text, tmp_path):
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/a.yml").write_text("services: {}")
    (tmp_path / "v.env").write_text("# c\nexport A='x # y'\nB=\"l1\\nl2\" # c\nC= plain # c\n")
    text = SMALL + (
        "stacks:\n  one: stacks/a.yml\n"
        "  two: {files: [stacks/a.yml], env_file: v.env, env: {C: over}, images: [later.tar], timeout: 2m}\n"
    )
    one, two = load_text(text).stacks
    assert (one.name, one.files, one.timeout) == ("one", (tmp_path / "stacks/a.yml",), 300.0)
    assert two.env == {"A": "x # y", "B": "l1\nl2", "C": "over"}
    assert (two.images, two.timeout) == ((tmp_path / "later.tar",), 120.0)


def test_user_data_is_text_or_a_file(load_text, tmp_path):
    (tmp_path / "ud.yml").write_text("#cloud-config\n${not ours}\n")
    text = SMALL.replace("{role: manager}", "{role: manager, user_data: %s}")
    assert load_text(text % "ud.yml").groups[0].user_data == "#cloud-config\n${not ours}\n"
    assert load_text(text % '"#cloud-config\\na: 1"').groups[0].user_data == "#cloud-config\na: 1"


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"there is no inventory '.*none\.yml'"):
        load(tmp_path / "none.yml", environ={})


def test_one_and_three_managers_are_fine(load_text):
    assert warnings(load_text(SMALL)) == ()
    assert warnings(load_text(SMALL.replace("r}", "r, count: 3}"))) == ()


@pytest.mark.parametrize(
    ("inventory", "said"),
    [
        (SMALL.replace("r}", "r, count: 2}"), "2 managers survive the loss of 0, as 1 do"),
        (SMALL.replace("r}", "r, count: 9}"), "more than 7"),
        (SMALL + "engine: {daemon: {hosts: ['fd://']}}\n", "'hosts' in daemon.json"),
        (
            SMALL.replace("fake", "ssh").replace("r}", "r, hosts: [10.1.0.9]}")
            + "swarm: {default_addr_pool: 10.1.0.0/16}",
            "10.1.0.9",
        ),
    ],
)
def test_doubtful_settings_are_warned_of(load_text, inventory, said):
    (warning,) = warnings(load_text(inventory))
    assert said in warning
