"""The cluster's lock, between real processes where it matters."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from provision.errors import LockedError
from provision.state import lock
from provision.state.lock import LockedStillError, hold, owner_of, unlock
from provision.state.mounts import is_shared
from provision.state.owner import Owner, this_process
from provision.state.paths import ClusterPaths

ME = this_process(("provision", "up"))

HOLDER = """
import sys
from pathlib import Path
from provision.state.lock import hold
from provision.state.owner import this_process
from provision.state.paths import ClusterPaths
with hold(ClusterPaths(Path(sys.argv[1]), "lab"), this_process(("provision", "down", "my inventory.yml"))):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(paths: ClusterPaths) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(paths.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_held_lock_names_its_owner(paths: ClusterPaths) -> None:
    with another_process(paths) as process, pytest.raises(LockedError) as caught, hold(paths, ME):
        pass
    assert f"@{ME.host} pid {process.pid} \"provision down 'my inventory.yml'\", since " in caught.value.summary
    assert caught.value.exit_code == 4


def test_a_killed_owner_frees_the_lock_and_is_reported(paths: ClusterPaths) -> None:
    with another_process(paths) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold(paths, ME) as killed:
            assert killed is not None
            assert killed.pid == process.pid
            assert owner_of(paths) == ME


def test_an_orderly_release_leaves_no_owner(paths: ClusterPaths) -> None:
    paths.state.write_text("{}")
    with hold(paths, ME):
        pass
    with hold(paths, ME) as killed:
        assert killed is None
    assert not paths.lock.exists()
    assert paths.logs.is_dir(), "a cluster that exists keeps its folders"


def test_a_second_hold_in_one_process_is_refused(paths: ClusterPaths) -> None:
    with hold(paths, ME), pytest.raises(LockedError), hold(paths, ME):
        pass


def test_waiting_ends_when_the_owner_is_done(paths: ClusterPaths) -> None:
    with another_process(paths) as process:
        naps: list[float] = []

        def sleep(seconds: float) -> None:
            naps.append(seconds)
            process.communicate()  # ends its standard input, so it lets go and exits

        with hold(paths, ME, wait=60, clock=lambda: 0.0, sleep=sleep):
            assert owner_of(paths) == ME
    assert naps


def test_waiting_has_a_deadline_and_names_the_owner(paths: ClusterPaths) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with (
        hold(paths, replace(ME, user="alice")),
        pytest.raises(LockedError, match="alice@"),
        hold(paths, ME, wait=3, clock=lambda: now, sleep=sleep),
    ):
        pass
    assert 3 <= now < 4


def test_a_cluster_that_never_was_leaves_no_folder(tmp_path: Path) -> None:
    fresh = ClusterPaths(tmp_path / "state", "typo")
    with hold(fresh, ME):
        assert fresh.folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_may_be_removed_while_held(paths: ClusterPaths) -> None:
    with hold(paths, ME):
        paths.remove()
    assert not paths.root.exists()


def test_whoever_waited_on_a_removed_file_takes_the_new_one(
    paths: ClusterPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the owner removes the file after we opened it and before we lock it: what we then hold is nobody's lock
    real = lock._flock
    removed: list[int] = []

    def flock(handle: int) -> bool:
        if not removed:
            removed.append(handle)
            paths.lock.unlink()
        return real(handle)

    monkeypatch.setattr(lock, "_flock", flock)
    with hold(paths, ME), pytest.raises(LockedError), hold(paths, ME):
        pass
    assert removed


def test_unlock_without_a_lock_says_so(paths: ClusterPaths) -> None:
    assert unlock(paths) is None


def test_unlock_refuses_while_the_owner_lives(paths: ClusterPaths) -> None:
    with another_process(paths):
        with pytest.raises(LockedStillError, match="which still runs") as caught:
            unlock(paths)
        with pytest.raises(LockedError), hold(paths, ME):
            pass
    assert "--force" in caught.value.hint


def test_unlock_removes_what_a_dead_owner_left(paths: ClusterPaths) -> None:
    with another_process(paths) as process:
        process.kill()
        process.wait()
        freed = unlock(paths)
    assert freed is not None
    assert freed.pid == process.pid
    assert owner_of(paths) is None


def test_a_forced_unlock_lets_new_runs_proceed_and_survives_the_old_one(paths: ClusterPaths) -> None:
    with another_process(paths) as process:
        unlock(paths, force=True)
        with hold(paths, ME):
            process.communicate()  # the old owner lets go now
            assert owner_of(paths) == ME
            with pytest.raises(LockedError), hold(paths, ME):
                pass


def foreign(paths: ClusterPaths) -> Owner:
    owner = replace(ME, host="elsewhere", user="bob")
    values = {
        "user": owner.user,
        "host": owner.host,
        "pid": 7,
        "command": "provision up",
        "since": owner.since.isoformat(),
    }
    paths.lock.write_text(json.dumps(values))
    return owner


def test_another_hosts_record_counts_on_a_shared_file_system(paths: ClusterPaths) -> None:
    foreign(paths)
    with pytest.raises(LockedError, match="bob@elsewhere pid 7"), hold(paths, ME, shared=lambda path: True):
        pass
    with pytest.raises(LockedStillError, match="nobody can see"):
        unlock(paths, shared=lambda path: True)
    unlock(paths, force=True, shared=lambda path: True)
    with hold(paths, ME, shared=lambda path: True):
        assert owner_of(paths) == ME


def test_another_hosts_record_is_stale_on_a_local_file_system(paths: ClusterPaths) -> None:
    # a container that was made anew has another host name; nothing else can hold a local file's lock
    foreign(paths)
    with hold(paths, ME, shared=lambda path: False) as killed:
        assert killed is not None
        assert killed.host == "elsewhere"


def test_an_unreadable_record_does_not_block(paths: ClusterPaths) -> None:
    paths.lock.write_bytes(b"\x00{broken")
    with hold(paths, ME) as killed:
        assert killed is None


def test_an_owner_of_another_day_is_dated() -> None:
    owner = replace(ME, user="alice", host="h", pid=123, since=datetime.now(UTC) - timedelta(days=3))
    assert str(owner).startswith('alice@h pid 123 "provision up", since 20')


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:50 / /home rw,relatime shared:9 - nfs4 server:/home rw
41 40 0:51 / /home/local\\040disk rw - xfs /dev/vdb rw
42 22 0:52 / /net rw - autofs systemd-1 rw
43 42 0:53 / /net rw - fuse.sshfs a@b:/ rw
"""


@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/srv/x", False),
        ("/home/alice/.local/state", True),
        ("/home/local disk/x", False),
        ("/homes/x", False),
        ("/net/a", True),
    ],
)
def test_the_nearest_mount_says_whether_a_file_is_shared(tmp_path: Path, path: str, shared: bool) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert is_shared(Path(path), mountinfo=table) is shared
