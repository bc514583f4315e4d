"""The main job on the shared cluster: what `up` made of nothing, and that a second run finds nothing to do."""

from __future__ import annotations

import json
import re
import stat

import pytest
from lab_support import Lab, Shared, Up, eventually, fetch, files_below, inventory, secrets_in

MANAGERS = ("lab-manager-1", "lab-manager-2", "lab-manager-3")
WORKERS = ("lab-worker-1", "lab-worker-2")


def test_every_machine_is_a_ready_node_in_its_role(lab: Lab, shared: Shared) -> None:
    nodes = lab.nodes("lab-manager-1")
    assert {name: (node.role, node.ready, node.availability) for name, node in nodes.items()} == {
        **dict.fromkeys(MANAGERS, ("manager", True, "active")),
        **dict.fromkeys(WORKERS, ("worker", True, "active")),
    }
    assert sorted(node.manager_status for node in nodes.values()) == ["", "", "leader", "reachable", "reachable"]


def test_groups_labels_are_on_their_nodes_only(lab: Lab, shared: Shared) -> None:
    tiers = {name: node.labels.get("tier") for name, node in lab.nodes("lab-manager-1").items()}
    assert tiers == {**dict.fromkeys(MANAGERS), **dict.fromkeys(WORKERS, "web")}


@pytest.mark.parametrize("name", [*MANAGERS, *WORKERS])
def test_every_node_answers_over_http_with_its_name(lab: Lab, shared: Shared, name: str) -> None:
    assert f"hello from {name}" in fetch(lab.guest(name).address)


def test_progress_goes_to_stderr_and_stdout_stays_clean(shared: Shared) -> None:
    assert shared.up.stdout == ""
    assert "lab-worker-2: join as worker: done" in shared.up.stderr
    assert "hello: deploy stack: done" in shared.up.stderr


def test_state_is_closed_to_other_users(lab: Lab, shared: Shared) -> None:
    entries = [lab.states, lab.state("lab"), *lab.state("lab").rglob("*")]
    modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in entries if path.name != "id_ed25519.pub"}
    folders = {str(path) for path in entries if path.is_dir()}
    wrong = {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path in folders else 0o600)}
    assert not wrong
    assert lab.state("lab").joinpath("state.json").exists()


def test_no_token_and_no_private_key_is_written_down(lab: Lab, shared: Shared) -> None:
    names = files_below(lab.state("lab")).keys()
    assert {"state.json", "history.jsonl"} <= names
    assert any(name.startswith("logs/") for name in names)
    assert secrets_in(lab.root / "state") == []
    assert not re.search(r"SWMTKN|PRIVATE KEY", shared.up.stderr)


def test_cluster_key_is_the_only_private_key(lab: Lab, shared: Shared) -> None:
    """What the test above passes over is what it says: the cluster's own key, in its place."""
    assert b"PRIVATE KEY" in lab.state("lab").joinpath("id_ed25519").read_bytes()
    assert len(list(lab.root.joinpath("state").rglob("id_ed25519"))) == 1 + len(
        [path for path in lab.states.iterdir() if path.name != "lab" and (path / "id_ed25519").exists()]
    )


def test_second_run_finds_nothing_to_do(lab: Lab, shared: Shared) -> None:
    before = {name: lab.guest(name).engine_started() for name in (*MANAGERS, *WORKERS)}
    state = lab.state("lab").joinpath("state.json").read_bytes()
    again = lab.run("up", shared.inventory).ok()
    assert again.stdout == "lab: nothing to do\n"
    assert {name: lab.guest(name).engine_started() for name in before} == before
    assert lab.state("lab").joinpath("state.json").read_bytes() == state


def test_plan_of_a_finished_cluster_exits_with_0(lab: Lab, shared: Shared) -> None:
    assert lab.run("plan", shared.inventory, "--detailed-exitcode").ok().stdout == "lab: nothing to do\n"


def test_plan_with_something_due_exits_with_10_and_does_not_do_it(lab: Lab, shared: Shared) -> None:
    text = shared.inventory.read_text().replace("{tier: web}", "{tier: web, disk: ssd}")
    due = lab.write("lab-labelled.yml", text)
    planned = lab.run("plan", due, "--detailed-exitcode")
    assert planned.status == 10, planned
    assert [line.split()[1] for line in planned.stdout.splitlines() if "label disk: ssd is missing" in line] == [
        "lab-worker-1",
        "lab-worker-2",
    ]
    assert lab.run("plan", due).status == 0
    assert "disk" not in lab.nodes("lab-manager-1")["lab-worker-1"].labels


def test_plan_of_a_new_cluster_leaves_no_trace(lab: Lab, shared: Shared, unmade: Up) -> None:
    path = unmade("fresh", inventory("fresh", managers=3, workers=2))
    files = {name for name in files_below(lab.root) if not name.startswith("home/.ssh/known")}
    planned = lab.run("plan", path, "--detailed-exitcode")
    assert planned.status == 10, planned
    assert len(re.findall(r"^  \+ fresh-\S+ +create machine", planned.stdout, re.MULTILINE)) == 5
    assert {name for name in files_below(lab.root) if not name.startswith("home/.ssh/known")} == files
    assert lab.traces("fresh") == []


def test_names_resolve_between_machines(lab: Lab, shared: Shared) -> None:
    guests = lab.guests("lab")
    hosts = " ".join(guests)
    for guest in guests.values():
        said = guest.sh(f"getent ahostsv4 {hosts} >/dev/null; for h in {hosts}; do getent ahostsv4 $h | head -1; done")
        addresses = [line.split()[0] for line in said.splitlines()]
        for (name, other), address in zip(guests.items(), addresses, strict=True):
            assert name == guest.name or address == other.address


def test_ssh_reaches_each_machine_with_its_key_checked(lab: Lab, shared: Shared) -> None:
    for name in (MANAGERS[0], WORKERS[1]):
        assert lab.run("ssh", name, "hostname").ok().stdout.strip() == name
    config = lab.command("ssh", "-G", "lab-worker-1").ok().stdout
    assert "stricthostkeychecking true" in config
    assert str(lab.state("lab") / "known_hosts") in config


def test_user_s_own_ssh_reaches_a_machine_by_name(lab: Lab, shared: Shared) -> None:
    said = lab.command("ssh", "-o", "BatchMode=yes", "lab-worker-1", "hostname").ok()
    assert said.stdout.strip() == "lab-worker-1"


def test_swapped_host_key_stops_everything(lab: Lab, shared: Shared) -> None:
    manager, worker = lab.guest("lab-manager-1"), lab.guest("lab-worker-2")
    manager.docker("node", "update", "--label-rm", "tier", "lab-worker-1")
    key = "/etc/ssh/ssh_host_ed25519_key"
    worker.sh(f"cp -p {key} /root/kept && cp -p {key}.pub /root/kept.pub 2>/dev/null; rm {key}*")
    try:
        worker.sh(f"ssh-keygen -q -t ed25519 -N '' -f {key} && systemctl restart ssh")
        lab.run("up", shared.inventory).fails(1, "lab-worker-2: its SSH host key has changed", "SHA256:")
        assert "tier" not in lab.nodes("lab-manager-1")["lab-worker-1"].labels
        refused = lab.run("ssh", "lab-worker-2", "hostname")
        assert refused.status == 255, refused
        assert "HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    finally:
        worker.sh(f"mv /root/kept {key}; mv /root/kept.pub {key}.pub 2>/dev/null; systemctl restart ssh")
    lab.run("up", shared.inventory).ok()
    assert lab.nodes("lab-manager-1")["lab-worker-1"].labels["tier"] == "web"


def test_machines_outlive_their_command_and_come_back_after_a_power_cut(lab: Lab, shared: Shared) -> None:
    guests = lab.guests("lab")
    before = {name: node.id for name, node in lab.nodes("lab-manager-1").items()}
    for guest in guests.values():
        lab.command("kill", "-KILL", str(guest.pid)).ok()
    eventually(lambda: all(lab.power(name) == "Stopped" for name in guests))
    planned = lab.run("plan", shared.inventory, "--detailed-exitcode")
    assert planned.status == 10, planned
    assert planned.stdout.count("start machine") == 5, planned
    lab.run("up", shared.inventory).ok()
    nodes = lab.nodes("lab-manager-1")
    assert {name: node.id for name, node in nodes.items()} == before
    eventually(lambda: all(node.ready for node in lab.nodes("lab-manager-1").values()))
    eventually(lambda: lab.run("up", shared.inventory).ok().stdout == "lab: nothing to do\n")
    for name, guest in guests.items():
        assert f"hello from {name}" in fetch(guest.address, seconds=60)


def test_history_says_what_was_run(lab: Lab, shared: Shared) -> None:
    rows = [json.loads(line) for line in lab.run("history", "-c", "lab", "-o", "json").ok().stdout.splitlines()]
    first = rows[0]
    assert (first["result"], first["failed"], first["command"][1:]) == ("done", 0, ["up", str(shared.inventory)])
    assert first["changed"] > 5
