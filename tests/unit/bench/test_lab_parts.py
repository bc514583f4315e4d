"""What measures the lab's parts, as far as it needs no host."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from bench import lab_parts
from bench.critical import edges_of_up
from provision.driver import Machine, MachineState, Role

REPOSITORY = Path(__file__).resolve().parents[3]


def machine(address: str) -> Machine:
    """A machine at an address."""
    return Machine(
        cluster="parts",
        name="parts-worker-1",
        group="worker",
        number=1,
        driver="nspawn",
        state=MachineState.RUNNING,
        address=address,
        provider_id="x",
    )


def test_the_machines_by_hand_are_those_of_the_lab() -> None:
    specs = [lab_parts._spec(number) for number in range(1, 6)]
    assert [spec.name.removeprefix("parts-") for spec in specs] == [
        "manager-1",
        "manager-2",
        "manager-3",
        "worker-1",
        "worker-2",
    ]
    assert [spec.role for spec in specs] == [Role.MANAGER] * 3 + [Role.WORKER] * 2


def test_the_edges_of_the_lab_lead_from_the_machines_to_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_DATA_DIR", str(tmp_path / "data"))
    text = (REPOSITORY / "inventories" / "lab.yml").read_text()
    lab = tmp_path / "lab.yml"
    lab.write_text(text.partition("stacks:")[0])
    environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    edges = edges_of_up(lab, environ)
    assert "lab-manager-1/init swarm" in edges["lab-worker-2/join as worker"]
    assert "lab-worker-2/create machine" in edges["lab-worker-2/reach"]
    assert not (tmp_path / "state").exists()


def test_the_stack_is_written_as_it_lies_here_with_the_version_that_old_engines_want(tmp_path: Path) -> None:
    stacks = tmp_path / "stacks"
    (stacks / "hello").mkdir(parents=True)
    (stacks / "hello.yml").write_text("services: {}\n")
    (stacks / "hello" / "it's a page").write_text("$x `y`")
    (stacks / "hello.tar").write_text("the image")
    there = tmp_path / "there"
    script = lab_parts._write_stack(stacks).replace("/root/stacks", str(there))
    subprocess.run(("sh", "-ec", script), check=True)
    found = {str(path.relative_to(there)): path.read_text() for path in there.rglob("*") if path.is_file()}
    assert found == {"hello.yml": 'version: "3.8"\nservices: {}\n', "hello/it's a page": "$x `y`"}


def test_sshd_answers_when_it_shows_its_banner(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = socket.create_connection
        monkeypatch.setattr(
            "bench.lab_parts.socket.create_connection", lambda to, timeout: connect((to[0], port), timeout)
        )
        said: list[bytes] = [b"", b"SSH-2.0-test\r\n"]

        def serve() -> None:
            for banner in said:
                client, _ = server.accept()
                with client:
                    client.sendall(banner)

        thread = threading.Thread(target=serve)
        thread.start()
        lab_parts._wait_for_sshd(machine("127.0.0.1"))  # after the first, which says nothing
        thread.join(10)
        assert not thread.is_alive()


def test_what_never_becomes_true_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_parts, "_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="no page"):
        lab_parts._until(lambda: False, "no page")
