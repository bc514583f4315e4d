"""The ssh config, judged by the system's own ssh; and the user's file, which comes back byte for byte."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from provision.client.ssh_config import render
from provision.client.ssh_include import exclude, include, ssh_home
from provision.driver import Machine, MachineState
from provision.errors import ProvisionError
from provision.state.paths import ClusterPaths

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is missing")


def machine(name: str = "lab-worker-1", **values: object) -> Machine:
    given: dict[str, object] = {"address": "10.9.0.4", "group": "worker", "number": 1, **values}
    return Machine(cluster="lab", name=name, driver="nspawn", state=MachineState.RUNNING, **given)  # type: ignore[arg-type]


def asked(config: Path, host: str) -> dict[str, list[str]]:
    """What ssh makes of a config for a host."""
    done = subprocess.run(["ssh", "-G", "-F", str(config), host], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        answers.setdefault(key, []).append(value)
    return answers


@pytest.fixture
def paths(tmp_path: Path) -> ClusterPaths:
    made = ClusterPaths(tmp_path / "my state 100%", "lab")
    made.make()
    return made


@needs_ssh
def test_ssh_understands_every_setting_also_in_a_folder_with_blanks(paths: ClusterPaths) -> None:
    full = machine(port=2222, user="ops", jump="me@gate:2200", identity_file="/keys/b a")
    paths.ssh_config.write_text(render(paths, [full]))
    answers = asked(paths.ssh_config, "lab-worker-1")
    expected = {
        "hostname": ["10.9.0.4"],
        "port": ["2222"],
        "user": ["ops"],
        "proxyjump": ["me@gate:2200"],
        "hostkeyalias": ["lab-worker-1"],
        "identitiesonly": ["yes"],
        "stricthostkeychecking": ["true"],
        "checkhostip": ["no"],
        "globalknownhostsfile": ["/dev/null"],
        "controlmaster": ["false"],
    }
    assert {key: answers.get(key) for key in expected} == expected
    # ssh prints the paths as they were written; it doubles no `%` itself
    assert [path.replace("%%", "%").strip('"') for path in answers["identityfile"]] == [
        str(paths.private_key),
        "/keys/b a",
    ]
    assert [path.replace("%%", "%").strip('"') for path in answers["userknownhostsfile"]] == [str(paths.known_hosts)]


@needs_ssh
def test_user_and_port_that_are_unknown_are_left_to_the_users_own_config(paths: ClusterPaths, tmp_path: Path) -> None:
    own = tmp_path / "config"
    own.write_text(render(paths, [machine()]) + "\nHost *\n    User me\n    Port 2022\n    HostName 1.2.3.4\n")
    answers = asked(own, "lab-worker-1")
    assert (answers["user"], answers["port"], answers["hostname"]) == (["me"], ["2022"], ["10.9.0.4"])


@needs_ssh
@pytest.mark.parametrize("address", ["fd00::4", "fe80::1%eth0"])
def test_an_ipv6_address_is_kept(paths: ClusterPaths, address: str) -> None:
    paths.ssh_config.write_text(render(paths, [machine(address=address)]))
    assert asked(paths.ssh_config, "lab-worker-1")["hostname"] == [address]


def test_machines_are_in_order_and_those_without_address_left_out(paths: ClusterPaths) -> None:
    text = render(
        paths,
        [
            machine("lab-worker-10", number=10),
            machine("lab-worker-2", number=2),
            machine("lab-worker-3", number=3, address=None),
            machine("lab-manager-1", group="manager"),
        ],
    )
    hosts = [line.split()[1] for line in text.splitlines() if line.startswith("Host ")]
    assert hosts == ["lab-manager-1", "lab-worker-2", "lab-worker-10"]


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a\n    ProxyCommand evil"},
        {"name": "*"},
        {"address": "-oProxyCommand=evil"},
        {"user": "a b"},
        {"jump": "a\nHost *"},
        {"jump": "-J"},
        {"identity_file": "/a\nProxyCommand evil"},
        {"identity_file": '/a"b'},
        {"identity_file": "/${HOME}"},
    ],
)
def test_a_value_cannot_add_a_setting(paths: ClusterPaths, values: dict[str, str]) -> None:
    with pytest.raises(ProvisionError, match="cannot be written into an ssh config"):
        render(paths, [machine(**values)])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    (made / ".ssh").mkdir(parents=True)
    return made


def config(home: Path) -> Path:
    return home / ".ssh" / "config"


CONTENTS = [
    b"",
    b"\n",
    b"Host a\n  User b\n",
    b"Host a\n  User b",
    b"# a comment\r\nHost *\r\n\tUser x\r\n",
    b"User me\n\n\nInclude other\nMatch all\n\xff\xfe",
]


@pytest.mark.parametrize("content", CONTENTS)
def test_the_users_file_comes_back_byte_for_byte(home: Path, tmp_path: Path, content: bytes) -> None:
    config(home).write_bytes(content)
    assert include(tmp_path / "state", home=home)
    assert config(home).read_bytes() == f"Include {tmp_path}/state/*/ssh_config\n".encode() + content
    assert exclude(tmp_path / "state", home=home)
    assert config(home).read_bytes() == content


def test_a_second_include_changes_nothing(home: Path, tmp_path: Path) -> None:
    include(tmp_path, home=home)
    before = config(home).stat()
    assert not include(tmp_path, home=home)
    assert config(home).stat() == before


def test_a_file_that_we_made_goes_again(home: Path, tmp_path: Path) -> None:
    include(tmp_path, home=home)
    assert stat.S_IMODE(config(home).stat().st_mode) == 0o600
    assert exclude(tmp_path, home=home)
    assert list((home / ".ssh").iterdir()) == []
    assert not exclude(tmp_path, home=home)


def test_what_the_user_added_to_a_file_that_we_made_stays(home: Path, tmp_path: Path) -> None:
    include(tmp_path, home=home)
    with config(home).open("a") as file:
        file.write("Host a\n")
    exclude(tmp_path, home=home)
    assert config(home).read_text() == "Host a\n"


def test_the_line_stays_while_a_cluster_is_left(home: Path, tmp_path: Path) -> None:
    left = ClusterPaths(tmp_path / "state", "left")
    left.make()
    left.ssh_config.write_text("")
    include(left.root, home=home)
    assert not exclude(left.root, home=home)
    left.remove()
    assert exclude(left.root, home=home)


def test_mode_and_symlink_are_kept(home: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.write_text("Host a\n")
    dotfiles.chmod(0o640)
    config(home).symlink_to(dotfiles)
    include(tmp_path / "state", home=home)
    assert dotfiles.read_text().endswith("ssh_config\nHost a\n")
    exclude(tmp_path / "state", home=home)
    assert config(home).readlink() == dotfiles
    assert (dotfiles.read_text(), stat.S_IMODE(dotfiles.stat().st_mode)) == ("Host a\n", 0o640)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_is_kept(home: Path, tmp_path: Path) -> None:
    config(home).write_text("Host a\n")
    os.chown(config(home), 1234, 4321)
    include(tmp_path / "state", home=home)
    assert (config(home).stat().st_uid, config(home).stat().st_gid) == (1234, 4321)


def test_a_line_that_slid_into_a_host_block_moves_to_the_top(home: Path, tmp_path: Path) -> None:
    line = f"Include {tmp_path}/*/ssh_config\n"
    config(home).write_text(f"Host a\n{line}User b\n")
    assert include(tmp_path, home=home)
    assert config(home).read_text() == f"{line}Host a\nUser b\n"


def test_a_line_below_comments_is_left_where_it_is(home: Path, tmp_path: Path) -> None:
    text = f"# mine\nUser me\nInclude {tmp_path}/*/ssh_config\nHost a\n"
    config(home).write_text(text)
    assert not include(tmp_path, home=home)
    assert config(home).read_text() == text


@needs_ssh
def test_ssh_follows_the_line_also_to_a_folder_with_blanks(home: Path, tmp_path: Path) -> None:
    paths = ClusterPaths(tmp_path / "my state", "lab")
    paths.make()
    paths.ssh_config.write_text(render(paths, [machine()]))
    config(home).write_text("Host *\n    HostName wrong\n")
    include(paths.root, home=home)
    assert asked(config(home), "lab-worker-1")["hostname"] == ["10.9.0.4"]
    assert asked(config(home), "other")["hostname"] == ["wrong"]


def test_an_unwritable_place_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".ssh").write_text("in the way")
    with pytest.raises(ProvisionError, match="cannot change") as caught:
        include(tmp_path, home=tmp_path / "home")
    assert caught.value.hint


def test_a_root_that_is_a_pattern_is_refused(home: Path) -> None:
    with pytest.raises(ProvisionError, match="cannot be included"):
        include(Path("/a*b"), home=home)


def test_home_is_openssh_s_and_not_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    assert ssh_home() == Path(pwd.getpwuid(os.getuid()).pw_dir)
