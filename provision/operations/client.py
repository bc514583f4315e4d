"""What this machine keeps for working with a cluster: ssh config and docker context."""

from __future__ import annotations

from dataclasses import replace

from provision.client import docker_context, ssh_config, ssh_include
from provision.driver import Machine, Role
from provision.errors import ProvisionError
from provision.execution.world import World
from provision.hosts.target import target_of
from provision.operations.place import Place
from provision.state.files import write_atomic
from provision.state.model import ClusterState, MachineStatus
from provision.state.store import Store


def update_client(world: World, place: Place) -> tuple[str, ...]:
    """Make ssh config and docker context say what the state says; returns what could not be done, in words.

    Neither is worth a failed run: the cluster works without them.
    """
    state = Store(place.paths(world.cluster)).read()
    if state is None:
        return ()
    paths = place.paths(world.cluster)
    created = [r for r in state.machines.values() if r.status is MachineStatus.CREATED]
    problems: list[str] = []
    try:
        doors = [_door(world, record.machine(world.cluster)) for record in created]
        commands = {machine.name: command for machine, command in doors if command is not None}
        text = ssh_config.render(paths, [machine for machine, _ in doors], proxy_commands=commands).encode()
        if not paths.ssh_config.exists() or paths.ssh_config.read_bytes() != text:
            write_atomic(paths.ssh_config, text)
        ssh_include.include(place.root)
        manager = _manager(world, state)
        if manager is not None:
            folder = docker_context.docker_config_folder(place.environ)
            docker_context.write_context(world.cluster, manager, config=folder)
    except (ProvisionError, OSError) as problem:
        problems.append(str(problem))
    return tuple(problems)


def _door(world: World, machine: Machine) -> tuple[Machine, str | None]:
    """The machine as it is reached, and the proxy command on the way: what `ssh:` and the user's own ssh config say.

    OpenSSH looks up no alias behind a HostName, and reads no inventory; aliases of jump hosts it looks up by itself.
    """
    if machine.address is None:
        return machine, None
    target = target_of(machine, world.ssh, made=not world.adopts(machine.driver))
    door = replace(
        machine,
        address=target.address,
        user=target.user,
        port=target.port,
        jump=target.jump,
        identity_file=machine.identity_file or next(iter(target.identity_files), None),
    )
    return door, target.proxy_command


def _manager(world: World, state: ClusterState) -> str | None:
    """A manager that lives, as far as this run knows; else the first that there should be."""
    created = [r.name for r in state.machines.values() if r.role is Role.MANAGER and r.status is MachineStatus.CREATED]
    live = [name for name in world.managers if name in created]
    return next(iter([*live, *created]), None)


def remove_client(place: Place, cluster: str) -> None:
    """Take back what `update_client` made; the ssh config's include goes with the last cluster."""
    place.paths(cluster).ssh_config.unlink(missing_ok=True)
    ssh_include.exclude(place.root)
    folder = docker_context.docker_config_folder(place.environ)
    docker_context.remove_context(cluster, config=folder)
