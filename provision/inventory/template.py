"""The inventory that `provision init` writes to start from: short, commented, and valid as it stands."""

from __future__ import annotations

from collections.abc import Sequence

from provision.errors import UsageError
from provision.inventory.hosts import parse_host
from provision.inventory.values import InvalidValueError, check_name
from provision.inventory.yamltext import scalar

#: What a driver's groups usually want said; any other driver is fine without.
_IMAGES = {"nspawn": "debian-12"}


def render(*, name: str, driver: str, managers: int = 3, workers: int = 2, hosts: Sequence[str] = ()) -> str:
    """The inventory's text.

    For the ssh driver `hosts` (`user@host:port`) are the machines: the first `managers` of them managers, the others
    workers; without any, addresses that stand for yours. Raises `UsageError` for a name, a host or a number that no
    inventory can have.
    """
    _check(name, managers, workers, hosts, driver)
    listed = driver == "ssh"
    if listed and not hosts:
        hosts = [f"root@192.0.2.{11 + index}" for index in range(managers + workers)]
    if listed:
        manager = _hosts(hosts[:managers])
        worker = _hosts(hosts[managers:])
        many = bool(hosts[managers:])
    else:
        manager, worker, many = f"    count: {managers}\n", f"    count: {workers}\n", workers > 0
    image = f"    image: {_IMAGES[driver]}\n" if driver in _IMAGES else ""
    parts = [
        _head(name, driver),
        "\nmachines:\n",
        f"  manager:                      # machines are called {name}-manager-1, -2, …\n",
        "    role: manager               # an odd number of managers: 3 survive the loss of 1, 5 of 2\n",
        manager,
        image,
    ]
    if many:
        parts += ["\n  worker:\n", "    role: worker\n", worker, image]
        parts += ["    # labels: {tier: web}       # for placement in stacks\n"]
    return "".join([*parts, _tail(adopts=listed)])


def _check(name: str, managers: int, workers: int, hosts: Sequence[str], driver: str) -> None:
    try:
        check_name(name)
    except InvalidValueError as error:
        raise UsageError(f"{name!r} {error}", hint=error.hint) from error
    if managers < 1 or workers < 0:
        raise UsageError("a swarm needs one manager at least", hint="--managers 1, 3 or 5")
    if hosts and driver != "ssh":
        raise UsageError(f"driver {driver!r} makes its machines, so it takes no hosts", hint="--driver ssh")
    if hosts and len(hosts) < managers:
        raise UsageError(f"{managers} managers need {managers} hosts, not {len(hosts)}", hint="--managers 1")
    for host in hosts:
        try:
            parse_host(host)
        except InvalidValueError as error:
            raise UsageError(str(error), hint=error.hint) from error


def _head(name: str, driver: str) -> str:
    lines = [
        "# What provision makes of this: provision plan. Make it so: provision up. Take it away: provision down.",
        "# All that may stand here: provision schema. A value may come from the environment: ${NAME:-default}.",
        "",
        f"name: {scalar(name)}",
        f"driver: {scalar(driver):<22}# for every group; 'provision drivers' lists what is installed",
    ]
    return "\n".join(lines) + "\n"


def _hosts(hosts: Sequence[str]) -> str:
    return "    hosts:                      # user@host:port; root, or a user with password-free sudo\n" + "".join(
        f"      - {scalar(host)}\n" for host in hosts
    )


def _tail(*, adopts: bool) -> str:
    trust = "\n#   accept_new_host_keys: true  # or name 'host_key:' of each host, or have them in your known_hosts"
    return f"""
# ssh:
#   user: root
#   authorized_keys: [~/.ssh/id_ed25519.pub]    # default: all of your own ~/.ssh/*.pub{trust if adopts else ""}

# engine:
#   install: distro               # Docker Engine from the distribution's packages; none: it is there
#   daemon: {{log-driver: local}}   # what daemon.json shall hold

# stacks:
#   hello: stacks/hello.yml       # compose files, relative to this one
"""
