"""Edits of an inventory's text: what changes, and that nothing else does."""

# ruff: noqa: E501 - a table reads best with a case on a line

from __future__ import annotations

import difflib
import os
import stat

import pytest

from provision.driver import HostEntry
from provision.errors import InventoryError, ProvisionError
from provision.inventory.edit import add_hosts, remove_host, set_count
from provision.inventory.write import write_inventory

BLOCK = """\
# the lab
name: lab   # its name
machines:
  manager: {role: manager, count: 3}   # odd

  worker:
    # many hands
    role: worker      # light work
    count:   2        # for now

    labels: {tier: web}
    # the end
  bare:
    labels: {a: b}   # no count here
    role: worker  # last
stacks: {}
"""

HOSTS = """\
machines:
  a:
    role: manager
    hosts:
      # first
      - root@10.0.0.1   # one
      - address: 10.0.0.2
        port: 2222
        # of two

      # third
      - '[2001:db8::3]:22'
    # behind
  b: {role: worker, hosts: [c.example, {address: d.example, user: me}, ], labels: {}}
  indentless:
    role: worker
    hosts:
    - e.example
  empty: {role: worker, hosts: []}
  later:
    role: worker
    hosts:   # soon
  none:
    role: worker
"""


def changed(before: str, after: str) -> list[str]:
    """The lines that differ, as a diff without its context."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


@pytest.mark.parametrize(
    ("group", "lines"),
    [
        (
            "manager",
            ["-   manager: {role: manager, count: 3}   # odd", "+   manager: {role: manager, count: 5}   # odd"],
        ),
        ("worker", ["-     count:   2        # for now", "+     count:   5        # for now"]),
        ("bare", ["+     count: 5"]),
    ],
)
def test_only_the_count_changes(group, lines):
    assert changed(BLOCK, set_count(BLOCK, group, 5)) == lines


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_missing_count_stands_behind_the_role(eol, end):
    text = "machines:\n  w:\n    role: worker  # why".replace("\n", eol) + end.replace("\n", eol)
    expected = "machines:\n  w:\n    role: worker  # why\n    count: 4".replace("\n", eol) + end.replace("\n", eol)
    assert set_count(text, "w", 4) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("machines: {w: {role: worker}}", "machines: {w: {role: worker, count: 4}}"),
        ("machines: {w: {labels: {}, role: worker,}}", "machines: {w: {labels: {}, role: worker, count: 4,}}"),
        ("machines:\n  w:\n    role: &r worker\n", "machines:\n  w:\n    role: &r worker\n    count: 4\n"),
        ("x-a: &a {role: worker}\nmachines:\n  w:\n    <<: *a\n", "x-a: &a {role: worker}\nmachines:\n  w:\n    count: 4\n    <<: *a\n"),
        ("machines:\n  w: {role: worker, count: &n 2}\n", "machines:\n  w: {role: worker, count: &n 4}\n"),
        ("machines:\n  w: {role: worker, count: '2'}\n", "machines:\n  w: {role: worker, count: 4}\n"),
        ("machines:\n  w: {role: worker, count: 2}\nx-e: 'héé ☃'\n", "machines:\n  w: {role: worker, count: 4}\nx-e: 'héé ☃'\n"),
        ("x-e: 'héé ☃ 🐳'\nmachines: {w: {count: 2}}", "x-e: 'héé ☃ 🐳'\nmachines: {w: {count: 4}}"),
        ("\ufeffmachines: {w: {count: 2}}", "\ufeffmachines: {w: {count: 4}}"),
    ],
)  # fmt: skip
def test_many_styles_can_be_counted(text, expected):
    assert set_count(text, "w", 4) == expected


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("machines:\n  w: {role: worker, count: '${N}'}", 2, "count comes from the environment: ${N}", "write 'count: 4' into machines.w by hand, or change the variable"),
        ("x-n: &n 2\nmachines:\n  w: {count: *n}", 3, "count is an alias", "write 'count: 4' into machines.w by hand"),
        ("x-a: &a {count: 2}\nmachines:\n  w: {<<: *a, role: worker}", 3, "count is merged from elsewhere by '<<'", "write 'count: 4' into machines.w by hand"),
        ("x-a: &a {count: 2}\nmachines:\n  w: *a", 3, "'w' is an alias", "change machines.w by hand"),
        ("machines:\n  w: &w {count: 2, role: worker}\n  v: *w", 2, "changing machines.w would change something else too", "write 'count: 4' into machines.w by hand"),
        ("machines:\n  v: &n {count: &c 2}\n  w: {count: &d 2}\nx-z: *d", 3, "changing machines.w would change something else too", "write 'count: 4' into machines.w by hand"),
        ("machines:\n  wo: {count: 2}", 1, "there is no 'w' in the inventory", "did you mean 'wo'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_safely_is_refused(text, line, message, hint):
    with pytest.raises(InventoryError) as caught:
        set_count(text, "w", 4, file="i.yml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.message, problem.hint) == ("i.yml", line, message, hint)


@pytest.mark.parametrize(
    ("group", "lines"),
    [
        ("a", ["+       - f.example", "+       - root@10.0.0.9:22"]),
        ("indentless", ["+     - f.example", "+     - root@10.0.0.9:22"]),
        ("none", ["+     hosts: [f.example, root@10.0.0.9:22]"]),
    ],
)
def test_hosts_are_added_as_lines(group, lines):
    assert changed(HOSTS, add_hosts(HOSTS, group, ["f.example", "root@10.0.0.9:22"])) == lines


@pytest.mark.parametrize(
    ("group", "line"),
    [
        ("b", "  b: {role: worker, hosts: [c.example, {address: d.example, user: me}, f.example, ], labels: {}}"),
        ("empty", "  empty: {role: worker, hosts: [f.example]}"),
        ("later", "    hosts: [f.example]   # soon"),
    ],
)
def test_hosts_are_added_within_a_line(group, line):
    added = [line for line in changed(HOSTS, add_hosts(HOSTS, group, ["f.example"])) if line[0] == "+"]
    assert added == ["+ " + line]


def test_hosts_are_added_behind_the_last_and_not_behind_its_comment():
    after = add_hosts(HOSTS, "a", ["10.0.0.9"])
    assert "      - '[2001:db8::3]:22'\n      - 10.0.0.9\n    # behind\n" in after


def test_a_host_that_needs_it_is_quoted_or_spelled_out():
    entries = ["[2001:db8::9]:22", HostEntry(address="10.0.0.9", user="me", host_key="ssh-ed25519 AAAA x")]
    assert changed(HOSTS, add_hosts(HOSTS, "indentless", entries)) == [
        '+     - "[2001:db8::9]:22"',
        '+     - {address: 10.0.0.9, user: me, host_key: "ssh-ed25519 AAAA x"}',
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("10.0.0.1", "10.0.0.1 is listed already"),
        ("2001:DB8:0::3", "2001:DB8:0::3 is listed already"),
        ("a b", "'a b': 'a b' is not an address or a host's name"),
    ],
)
def test_a_host_that_is_listed_or_is_none_is_refused(entry, message):
    with pytest.raises(InventoryError) as caught:
        add_hosts(HOSTS, "a", [entry])
    assert caught.value.problems[0].message == message


@pytest.mark.parametrize(
    ("group", "address", "lines"),
    [
        ("a", "10.0.0.1", ["-       - root@10.0.0.1   # one"]),
        ("a", "10.0.0.2", ["-       - address: 10.0.0.2", "-         port: 2222"]),
        ("a", "2001:db8::3", ["-       - '[2001:db8::3]:22'"]),
    ],
)
def test_a_host_is_removed_with_its_lines(group, address, lines):
    assert changed(HOSTS, remove_host(HOSTS, group, address)) == lines


@pytest.mark.parametrize(
    ("address", "rest"),
    [
        ("c.example", "[{address: d.example, user: me}, ]"),
        ("d.example", "[c.example, ]"),
    ],
)
def test_a_host_is_removed_from_a_flow_list(address, rest):
    assert f"  b: {{role: worker, hosts: {rest}, labels: {{}}}}\n" in remove_host(HOSTS, "b", address)


def test_the_last_host_leaves_an_empty_list():
    assert "    hosts: []\n  empty:" in remove_host(HOSTS, "indentless", "e.example")
    text = "machines: {w: {hosts: [a]}}"
    assert remove_host(text, "w", "a") == "machines: {w: {hosts: []}}"


def test_adding_and_removing_gives_the_old_text_back():
    for group in ("a", "b", "indentless"):
        assert remove_host(add_hosts(HOSTS, group, ["f.example"]), group, "f.example") == HOSTS


def test_hosts_with_one_address_are_told_apart_by_their_port():
    text = "machines: {w: {hosts: ['a:1', 'a:2']}}"
    assert remove_host(text, "w", "a:2") == "machines: {w: {hosts: ['a:1']}}"
    with pytest.raises(InventoryError, match="more than once"):
        remove_host(text, "w", "a")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("machines: {w: {hosts: [b]}}", "a is not among the hosts", "provision ls"),
        ("machines: {w: {hosts: ['${H}']}}", "a is not among the hosts", "by hand"),
        ("machines: {w: {count: 1}}", "lists no hosts", "'count' says"),
        ("x-h: &h [a]\nmachines: {w: {hosts: *h}}", "hosts is an alias", "by hand"),
        ("x-h: &h a\nmachines: {w: {hosts: [b, *h]}}", "one of the hosts is an alias", "by hand"),
    ],
)
def test_a_host_that_cannot_be_removed_is_refused(text, message, hint):
    with pytest.raises(InventoryError) as caught:
        remove_host(text, "w", "a")
    (problem,) = caught.value.problems
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line


def test_writing_keeps_mode_and_link_and_leaves_no_other_file(tmp_path):
    target, link = tmp_path / "real/inventory.yml", tmp_path / "inventory.yml"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_inventory(link, "new\r\n")
    assert link.is_symlink()
    assert target.read_bytes() == b"new\r\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(target.parent) == ["inventory.yml"]  # noqa: PTH208 - names


def test_a_new_file_is_what_the_umask_leaves(tmp_path):
    old = os.umask(0o027)
    try:
        write_inventory(tmp_path / "i.yml", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "i.yml").stat().st_mode) == 0o640


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ProvisionError, match=r"cannot write '.*no/i\.yml': No such file"):
        write_inventory(tmp_path / "no/i.yml", "x")
