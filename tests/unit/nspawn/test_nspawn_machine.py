"""What a machine is started with, and what is written into it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from provision.driver import HostKeyPair, MachineSpec, MachineState, Role
from provision.errors import DeadlineError, DriverError
from provision.local.commands import Commands
from provision.local.locks import is_locked, lock, locked
from provision_nspawn import NspawnDriver, cgroups
from provision_nspawn.boot import Subject, nspawn_argv, systemd_argv
from provision_nspawn.doctor import check_host, check_specs
from provision_nspawn.guest import Overlay, write_ssh
from provision_nspawn.hello_image import TAG, hello_archive
from provision_nspawn.kernel import low_limits, raise_limits
from provision_nspawn.layout import Layout
from provision_nspawn.options import NspawnOptions
from provision_nspawn.processes import boot_id, children, is_alive, kill_all, start_time
from provision_nspawn.records import MachineRecord, ProcessRecord, read_machine, write_record
from provision_nspawn.requests import CreateRequest
from provision_nspawn.users import Accounts, add_login, find_login

HYBRID = """\
30 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 25 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:32 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 25 0:33 / /nowhere/unified rw,relatime - cgroup2 cgroup2 rw
"""

RECORD = MachineRecord(
    cluster="lab",
    name="lab-worker-1",
    group="worker",
    number=1,
    role="worker",
    address="10.9.8.10",
    mac="02:00:00:00:00:01",
    user="root",
    port=22,
    image="debian-12",
    digest="0123456789abcdef",
    host_keys=("ssh-ed25519 AAAA",),
    made=True,
)
SPEC = MachineSpec(
    cluster="lab", name="lab-worker-1", group="worker", number=1, role=Role.WORKER, driver="nspawn", image="debian-12"
)
KEY = HostKeyPair(private="-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n", public="ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mirrors": "x"}, "mirrors"),
        ({"mirror": "ftp://mirror.example"}, "http://"),
        ({"subnet": "10.1.2.3/24"}, "host bits"),
        ({"subnet": "8.8.8.0/24"}, "private"),
        ({"subnet": "10.0.0.0/8"}, "/16"),
        ({"bind": ["/only-one"]}, "/host/path:/guest/path"),
        ({"bind": ["relative:/guest"]}, "absolute"),
        ({"bind": ["/a:/b:rw"]}, ":ro"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        NspawnOptions.model_validate(options)


def test_machine_gets_a_namespace_binds_and_nothing_secret_on_its_command_line(tmp_path: Path) -> None:
    subject = _subject(tmp_path)
    argv = nspawn_argv(subject, replace(RECORD, binds=("/srv/a:/b:ro", "/srv/c:/d")), hosts=tmp_path / "hosts")
    assert f"--network-namespace-path=/run/netns/{subject.names.unit}" in argv
    assert {"--bind-ro=/srv/a:/b", "--bind=/srv/c:/d", f"--bind-ro={tmp_path}/hosts:/etc/hosts"} <= set(argv)
    assert "--hostname=lab-worker-1" in argv


def test_systemd_is_given_the_limits() -> None:
    argv = systemd_argv("unit", replace(RECORD, memory=512 * 1024**2, cpus=1.5))
    assert {"--property=MemoryMax=536870912", "--property=CPUQuota=150%", "--unit=unit.service"} <= set(argv)
    assert argv[-1] == "--"
    assert not [word for word in systemd_argv("unit", RECORD) if "MemoryMax" in word or "CPUQuota" in word]


def test_limits_go_to_the_old_controllers_on_a_hybrid_host() -> None:
    where = cgroups.hierarchies(HYBRID)
    groups = dict(cgroups.groups("unit", where, memory=1024**3, cpus=0.5))
    assert groups == {
        Path("/nowhere/unified/unit"): {},
        Path("/sys/fs/cgroup/systemd/unit"): {},
        Path("/sys/fs/cgroup/memory/unit"): {"memory.limit_in_bytes": str(1024**3)},
        Path("/sys/fs/cgroup/cpu,cpuacct/unit"): {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"},
    }


def test_limits_go_to_the_unified_hierarchy_where_it_has_the_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    where = cgroups.hierarchies(f"33 25 0:33 / {tmp_path} rw,relatime - cgroup2 cgroup2 rw\n")
    groups = cgroups.groups("unit", where, memory=1024**3, cpus=2)
    assert groups == ((tmp_path / "unit", {"memory.max": str(1024**3), "cpu.max": "200000 100000"}),)
    assert where.can_limit("memory")


def test_added_user_has_no_password_and_a_free_id() -> None:
    accounts = Accounts("root:x:0:0::/root:/bin/bash\nbob:x:1000:1000::/home/bob:/bin/sh\n", "root:*:1::::::\n", "")
    after, login = add_login(accounts, "alice")
    assert (login.uid, login.home) == (1001, "/home/alice")
    assert find_login(after, "alice") == login
    assert after.shadow.splitlines()[-1].split(":")[:2] == ["alice", "*"]


def test_user_name_that_debian_would_not_take_is_refused() -> None:
    with pytest.raises(DriverError, match="not a user name"):
        add_login(Accounts("", "", ""), "a:b")


@pytest.mark.skipif(os.geteuid() != 0, reason="a guest's files have owners")
def test_guest_files_have_the_trees_folders_and_tight_modes(tmp_path: Path) -> None:
    tree, upper = tmp_path / "tree", tmp_path / "upper"
    (tree / "etc/ssh").mkdir(parents=True)
    (tree / "root").mkdir(mode=0o700)
    upper.mkdir()
    (tree / "etc/shadow").write_text("")
    for name in ("passwd", "group"):
        (tree / "etc" / name).write_text("root:x:0:0::/root:/bin/bash\n" if name == "passwd" else "root:x:0:\n")
    write_ssh(Overlay(tree, upper), user="alice", port=2222, host_key=KEY, authorized_keys=("ssh-ed25519 BBBB me",))
    assert (upper / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o777 == 0o600
    assert (upper / "etc/ssh/sshd_config.d/20-port.conf").read_text() == "Port 2222\n"
    keys = upper / "home/alice/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 BBBB me\n"
    assert (keys.stat().st_uid, keys.parent.stat().st_mode & 0o777) == (1000, 0o700)
    assert (upper / "home").stat().st_mode & 0o777 == 0o755
    assert (upper / "etc/sudoers.d/90-alice").stat().st_mode & 0o777 == 0o440


def test_record_survives_a_round_trip_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    paths = Layout(tmp_path).machine("lab", "lab-worker-1")
    paths.root.mkdir(parents=True)
    assert read_machine(paths) is None
    write_record(paths.record, RECORD)
    assert read_machine(paths) == RECORD
    paths.record.write_text('{"version": 1, "name":')
    with pytest.raises(DriverError, match=r"machine\.json is damaged"):
        read_machine(paths)
    paths.record.write_text('{"version": 99}')
    with pytest.raises(DriverError, match="another version"):
        read_machine(paths)


def test_discover_shows_what_is_damaged_or_half_made_beside_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_DATA_DIR", str(tmp_path))
    layout = Layout(tmp_path)
    for name, text in (("lab-a-1", None), ("lab-b-1", "{"), ("lab-c-1", None)):
        paths = layout.machine("lab", name)
        paths.root.mkdir(parents=True)
        write_record(paths.record, replace(RECORD, name=name, made=name != "lab-c-1"))
        if text:
            paths.record.write_text(text)
    found = {machine.name: machine for machine in NspawnDriver({}).discover("lab")}
    assert [machine.state for machine in found.values()] == [MachineState.STOPPED, *[MachineState.ERROR] * 2]
    assert "damaged" in found["lab-b-1"].details["problem"]
    assert "half made" in found["lab-c-1"].details["problem"]


def test_process_is_known_by_start_and_boot_not_by_id() -> None:
    pid = os.getpid()
    start = start_time(pid)
    assert start is not None
    assert is_alive(ProcessRecord(pid=pid, start=start, boot=boot_id()))
    assert not is_alive(ProcessRecord(pid=pid, start=start + 1, boot=boot_id()))
    assert not is_alive(ProcessRecord(pid=pid, start=start, boot="another"))


def test_children_are_found_and_killed_children_are_gone() -> None:
    with subprocess.Popen(("sleep", "60")) as child:
        assert child.pid in children(os.getpid())
        kill_all([child.pid], seconds=10)
        assert start_time(child.pid) is None
    assert child.pid not in children(os.getpid())


def test_lock_names_its_owner_when_the_wait_ends(tmp_path: Path) -> None:
    with locked(tmp_path, seconds=1):
        assert is_locked(tmp_path)
        with pytest.raises(DeadlineError, match=f"process {os.getpid()}"):
            lock(tmp_path, seconds=0.05)
    assert not is_locked(tmp_path)


def test_lock_of_a_folder_that_was_removed_while_waiting_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    folder.mkdir()
    with locked(folder, seconds=1):
        folder.rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        lock(folder, seconds=1)


def test_request_survives_json_and_does_not_show_its_key() -> None:
    spec = replace(SPEC, host_key=KEY, authorized_keys=("ssh-ed25519 BBBB",), options={"bind": ["/a:/b"]}, cpus=0.5)
    request = CreateRequest.of(spec)
    assert CreateRequest.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert "secret" not in repr(request)


def test_low_kernel_limits_are_raised_and_said(tmp_path: Path) -> None:
    limit = tmp_path / "fs/inotify/max_user_instances"
    limit.parent.mkdir(parents=True)
    limit.write_text("128\n")
    neighbours = tmp_path / "net/ipv4/neigh/default"
    neighbours.mkdir(parents=True)
    for number in (1, 2, 3):
        (neighbours / f"gc_thresh{number}").write_text("99999\n")
    assert [str(low) for low in low_limits(tmp_path)] == ["fs.inotify.max_user_instances from 128 to 8192"]
    assert raise_limits(Commands(), tmp_path) == ("raised fs.inotify.max_user_instances from 128 to 8192",)
    assert limit.read_text() == "8192"
    assert low_limits(tmp_path) == ()


def test_doctor_gives_the_command_that_mends_each_missing_program(tmp_path: Path) -> None:
    fixes = {finding.fix for finding in check_host(Layout(tmp_path), search_path=str(tmp_path))}
    wanted = {"systemd-container", "mmdebstrap", "iproute2", "nftables"}
    assert {f"apt-get install {package}" for package in wanted} <= fixes


@pytest.mark.parametrize(
    ("change", "said", "fatal"),
    [
        ({"image": "debian12"}, "no image 'debian12'", True),
        ({"user_data": "#cloud-config"}, "user_data", True),
        ({"disk": 10**10}, "does not limit disks", False),
        ({"memory": 32 * 1024**2}, "32 MiB of memory are too few", True),
        ({"options": {"bind": ["/no/such/folder:/x"]}}, "/no/such/folder does not exist", True),
        ({"options": {"bond": []}}, "bond", True),
    ],
)
def test_check_says_what_is_wrong_with_a_spec(
    tmp_path: Path, change: dict[str, object], said: str, fatal: bool
) -> None:
    spec = replace(SPEC, **change)  # type: ignore[arg-type]
    found = [finding for finding in check_specs(Layout(tmp_path), [spec]) if said in finding.summary]
    assert [finding.fatal for finding in found] == [fatal]


def test_check_says_that_an_image_will_be_built(tmp_path: Path) -> None:
    (found,) = [each for each in check_specs(Layout(tmp_path), [SPEC, SPEC]) if "will build image" in each.summary]
    assert not found.fatal


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", ".lab.new"])
def test_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    layout = Layout(Path("/data"))
    with pytest.raises(DriverError, match="no name"):
        layout.cluster(name)
    with pytest.raises(DriverError, match="no name"):
        layout.machine("lab", name)


def test_data_folder_that_overlayfs_cannot_take_is_refused() -> None:
    with pytest.raises(DriverError, match="PROVISION_DATA_DIR"):
        Layout.from_environ({"PROVISION_DATA_DIR": "/srv/a:b"})


def test_hello_archive_is_the_same_bytes_each_time_and_what_docker_load_reads() -> None:
    archive = hello_archive(b"busybox", machine="x86_64")
    assert archive == hello_archive(b"busybox", machine="x86_64")
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        files = {entry.name: _content(outer, entry) for entry in outer}
    (image,) = json.loads(files["manifest.json"])
    assert image["RepoTags"] == [TAG]
    config = json.loads(files[image["Config"]])
    assert (config["os"], config["architecture"], len(config["rootfs"]["diff_ids"])) == ("linux", "amd64", 1)
    with tarfile.open(fileobj=io.BytesIO(files[image["Layers"][0]])) as layer:
        assert layer.getmember("tmp").mode == 0o1777
        assert layer.getmember("bin/httpd").linkname == "busybox"


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    assert stream is not None
    return stream.read()


def _subject(folder: Path) -> Subject:
    layout = Layout(folder)
    return Subject(layout.machine("lab", "lab-worker-1"), layout.kernel_names("lab", "lab-worker-1"), systemd=False)
