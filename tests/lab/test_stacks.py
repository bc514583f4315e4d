"""Stacks on one node: what makes `up` deploy again, what it carries along, and what it says of one that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab_support import Lab, Up, eventually, fetch, inventory

WEB = """
services:
  web:
    image: provision/hello:1
    command: [httpd, -f, -p, "8080", -h, /www]
    stop_signal: SIGKILL
    environment: {COLOUR: "${COLOUR:-none}"}
    env_file: [web/web.env]
    ports: [{target: 8080, published: 8080, mode: host}]
    configs: [{source: page, target: /www/index.html}]
    secrets: [password]
    deploy: {endpoint_mode: dnsrr, update_config: {order: stop-first, monitor: 100ms}}
  other:
    image: provision/hello:1
    command: [sh, -c, "exec httpd -f -p 9090"]
    stop_signal: SIGKILL
    deploy: {endpoint_mode: dnsrr}
configs:
  page: {file: web/page.html}
secrets:
  password: {file: web/password}
"""
SECRET = "correct-horse-battery-staple"


class Solo:
    """A cluster of one manager whose inventory gets the stacks that a test asks for."""

    name = "solo-manager-1"

    def __init__(self, lab: Lab, path: Path) -> None:
        self.lab, self.path = lab, path

    def stacks(self, text: str) -> Path:
        """Have these stacks in the inventory."""
        self.path.write_text(inventory("solo", workers=0, stacks=text))
        return self.path

    def stack(self, file: str, extra: str = "") -> str:
        """The inventory's line for a stack `app` of this file."""
        return f"app: {{file: {file}, images: [{self.lab.archive}], resolve_image: never{extra}}}"

    def up(self) -> None:
        self.lab.run("up", self.path, "--yes").ok()

    def settled(self) -> None:
        """A further run finds nothing to do."""
        assert self.lab.run("up", self.path).ok().stdout == "solo: nothing to do\n"

    def due(self, *words: str) -> None:
        """The plan is to deploy `app`, and says why."""
        planned = self.lab.run("plan", self.path, "--detailed-exitcode")
        assert planned.status == 10, planned
        lines = [line for line in planned.stdout.splitlines() if "app" in line and "deploy stack" in line]
        assert len(lines) == 1, planned
        missing = [word for word in words if word not in lines[0]]
        assert not missing, planned

    def services(self) -> set[str]:
        return set(self.lab.guest(self.name).docker("service", "ls", "--format", "{{.Name}}").split())

    def inside(self, service: str, script: str) -> str:
        """Run a script in the container of a service."""
        guest = self.lab.guest(self.name)
        container = guest.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}")
        return guest.docker("exec", container, "sh", "-c", script)


@pytest.fixture(scope="module")
def solo_cluster(lab: Lab, module_cluster: Up) -> Solo:
    return Solo(lab, module_cluster("solo", inventory("solo", workers=0)))


@pytest.fixture
def web(solo_cluster: Solo) -> Solo:
    """The stack `app` of WEB, deployed and settled; what its files say is left from the test before."""
    lab = solo_cluster.lab
    for name, text in {"web/web.env": "SIZE=large\n", "web/page.html": "first", "web/password": SECRET}.items():
        if not (lab.inventories / name).exists():
            lab.write(name, text)
    lab.write("web.yml", WEB)
    solo_cluster.stacks(solo_cluster.stack("web.yml"))
    if lab.run("plan", solo_cluster.path, "--detailed-exitcode").status != 0:
        solo_cluster.up()
    return solo_cluster


def test_stack_runs_with_its_config_secret_and_environment(lab: Lab, web: Solo) -> None:
    said = {name: (lab.inventories / "web" / name).read_text() for name in ("page.html", "password", "web.env")}
    assert fetch(lab.guest(web.name).address) == said["page.html"]
    assert web.inside("app_web", "cat /run/secrets/password") == said["password"]
    assert web.inside("app_web", "echo COLOUR=$COLOUR SIZE=$SIZE") == f"COLOUR=none {said['web.env'].strip()}"
    web.settled()


def test_secret_is_in_no_log_and_no_state(lab: Lab, web: Solo) -> None:
    secret = (lab.inventories / "web" / "password").read_bytes()
    found = [path for path in lab.state("solo").rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert found == []
    assert secret.decode() not in lab.run("plan", web.path, "-v").stdout


@pytest.mark.parametrize(
    ("file", "text", "shown"),
    [
        ("page.html", "second", "cat /www/index.html"),
        ("password", f"{SECRET}-2", "cat /run/secrets/password"),
        ("web.env", "SIZE=small", "echo SIZE=$SIZE"),
    ],
)
def test_changed_file_is_deployed(lab: Lab, web: Solo, file: str, text: str, shown: str) -> None:
    lab.write(f"web/{file}", text)
    web.due()
    web.up()
    assert web.inside("app_web", shown) == text


def test_changed_variable_is_deployed_and_the_records_of_it_agree(lab: Lab, web: Solo) -> None:
    path = web.stacks(web.stack("web.yml", ", env: {COLOUR: green}"))
    events = lab.run("up", path, "--progress", "json").ok().events()
    assert web.inside("app_web", "echo $COLOUR") == "green"
    assert [event["type"] for event in events if event["type"].startswith("run_")] == ["run_started", "run_finished"]
    last = json.loads(lab.run("history", "-c", "solo", "-o", "json").ok().stdout.splitlines()[-1])
    assert (last["done"], last["changed"]) == (events[-1]["done"], events[-1]["changed"])


def test_service_removed_by_hand_comes_back(lab: Lab, web: Solo) -> None:
    lab.guest(web.name).docker("service", "rm", "app_other")
    web.due("other")
    web.up()
    assert web.services() == {"app_web", "app_other"}


def test_service_changed_by_hand_is_put_right(lab: Lab, web: Solo) -> None:
    lab.guest(web.name).docker("service", "update", "--detach", "--env-add", "COLOUR=red", "app_web")
    web.due("web")
    web.up()
    eventually(lambda: web.inside("app_web", "echo $COLOUR") == "none")
    web.settled()


def test_service_that_left_the_file_is_pruned(lab: Lab, web: Solo) -> None:
    before, _, rest = WEB.partition("  other:\n")
    lab.write("web.yml", before + rest[rest.index("configs:") :])
    web.due()
    web.up()
    assert web.services() == {"app_web"}
    web.settled()


def test_stack_that_left_the_inventory_is_removed_with_consent_and_a_foreign_service_stays(lab: Lab, web: Solo) -> None:
    guest = lab.guest(web.name)
    guest.docker("service", "create", "--detach", "--name", "mine", "provision/hello:1", "sleep", "1000")
    try:
        web.settled()
        web.stacks("")
        lab.run("up", web.path).fails(2, "app", "--yes")
        assert web.services() == {"app_web", "app_other", "mine"}
        web.up()
        assert web.services() == {"mine"}
        assert guest.docker("secret", "ls", "-q") == ""
        assert guest.docker("config", "ls", "-q") == ""
        web.settled()
    finally:
        guest.docker("service", "rm", "mine")


def test_failing_stack_is_reported_with_its_tasks_words(lab: Lab, solo_cluster: Solo) -> None:
    text = "services:\n  bad:\n    image: provision/hello:1\n    command: [sh, -c, 'exit 3']\n"
    lab.write("bad.yml", text + "    deploy: {restart_policy: {delay: 1s}}\n")
    solo_cluster.stacks(solo_cluster.stack("bad.yml", ", timeout: 6s"))
    lab.run("up", solo_cluster.path, "--yes").fails(1, "non-zero exit (3)", "bad", "provision up")
    assert lab.run("status", solo_cluster.path).status == 1


def test_image_that_is_nowhere_is_named(lab: Lab, solo_cluster: Solo) -> None:
    lab.write("none.yml", "services:\n  none:\n    image: no-such-image:7\n")
    solo_cluster.stacks(solo_cluster.stack("none.yml", ", timeout: 5s"))
    lab.run("up", solo_cluster.path, "--yes").fails(1, "no-such-image:7")


def test_missing_archive_stops_before_anything_is_done(lab: Lab, solo_cluster: Solo) -> None:
    lab.write("web.yml", WEB)
    path = solo_cluster.stacks("app: {file: web.yml, images: [nowhere.tar]}")
    lab.run("up", path, "--yes").fails(3, "nowhere.tar")


def test_missing_compose_file_is_located(lab: Lab, solo_cluster: Solo) -> None:
    path = solo_cluster.stacks("app: {file: nowhere.yml}")
    refused = lab.run("plan", path).fails(3, "nowhere.yml")
    assert f"{path}:{_line_of(path, 'nowhere.yml')}:" in refused.stderr, refused


def _line_of(path: Path, word: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if word in line)
