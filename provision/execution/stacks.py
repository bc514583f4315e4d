"""Carrying out the steps that concern stacks and their images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from provision.errors import CommandError
from provision.execution.scheduler import Outcome
from provision.execution.world import World
from provision.hosts.fragments import Fragment, command
from provision.hosts.layout import DIRECTORY, LOADED_IMAGES
from provision.planning.actions import DeployStack, LoadImages, RemoveStack
from provision.planning.plan import count
from provision.planning.wanted import Wanted
from provision.stacks.converge import Waiting, wait_converged, wait_removed
from provision.stacks.deploy import DEPLOY_TIMEOUT, deploy_script
from provision.stacks.record import prune_objects, write_intent, write_record

Say = Callable[[str], None]


def load(world: World, wanted: Wanted, action: LoadImages, say: Say) -> Outcome:
    """Send the archives whose images the engine lacks; remember on an adopted host which were not there before."""
    archives = {path: wanted.archives[path] for path in action.archives}
    return load_archives(world, action.machine, archives, say)


def load_archives(world: World, machine: str, archives: Mapping[Path, frozenset[str]], say: Say) -> Outcome:
    """The same for archives with the ids that an engine may give their images."""
    session = world.session(machine)
    present = session.engine.image_ids()
    missing = [path for path, ids in archives.items() if not ids & present]
    if not missing:
        return Outcome(changed=False, note="already there")
    tags = session.engine.image_tags().keys()
    loaded: list[str] = []
    for path in missing:
        say(path.name)
        loaded += session.engine.load_image(path)
    session.changed()
    if world.adopts(world.machines[machine].driver):
        ours = [name for name in loaded if name not in tags]
        lines = command("printf", "%s\\n", *ours)
        body = f"mkdir -p {DIRECTORY}\n{lines} >>{LOADED_IMAGES}"
        session.host.apply([Fragment("remember images", body)], seconds=30.0)
    return Outcome(note=", ".join(loaded))


def deploy(world: World, action: DeployStack, say: Say) -> Outcome:
    """`docker stack deploy` on a manager, the record of it, then the wait until it runs as wanted."""
    session, stack = world.manager(), action.stack
    engine = session.engine
    write_intent(engine, action.bundle, cluster=world.cluster)
    result = session.host.root_shell(deploy_script(action.bundle), seconds=DEPLOY_TIMEOUT + 30.0, line=say)
    if result.status != 0:
        output = result.stderr or result.stdout
        raise CommandError(session.host.machine, f"docker stack deploy {stack.name}", result.status, output)
    names = {node.id: node.hostname for node in engine.nodes()}
    if stack.wait:
        waiting = Waiting(timeout=stack.timeout, report=say)
        wait_converged(engine, stack.name, waiting, expected=action.bundle.service_names, node_names=names)
    services = engine.services(stack=stack.name)
    write_record(engine, action.bundle, services, cluster=world.cluster)
    prune_objects(engine, action.bundle)
    return Outcome(note=count(len(services), "service"))


def remove(world: World, action: RemoveStack, say: Say) -> Outcome:
    """`docker stack rm` returns before its networks are gone: whoever deploys next must not meet them."""
    session = world.manager()
    result = session.host.run(("sh", "-c", f"{_DOCKER} stack rm {command(action.name)}"), seconds=60.0, line=say)
    if result.status != 0:
        raise CommandError(session.host.machine, f"docker stack rm {action.name}", result.status, result.stderr)
    wait_removed(session.engine, action.name, Waiting(timeout=120.0, report=say))
    return Outcome()


_DOCKER = "$([ -w /var/run/docker.sock ] || echo sudo -n) docker"
