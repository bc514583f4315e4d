"""A domain of ours as the rest of provision sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.driver import Machine, MachineState
from provision_libvirt.makers import is_at_work
from provision_libvirt.metadata import Mark, Owned
from provision_libvirt.objects import missing
from provision_libvirt.power import state_of

if TYPE_CHECKING:
    import libvirt

    from provision_libvirt.uri import Uri

DRIVER = "libvirt"


def machine_of(found: Owned, uri: Uri) -> Machine:
    """The machine; one that is gone by now is half removed. Its guests' way in leads through a remote hypervisor."""
    mark = found.mark
    state, problem = judge(mark, _state(found.domain))
    details = {
        "uri": uri.text,
        "boot": mark.boot,
        "pool": mark.pool,
        "network": ", ".join(nic.network or nic.bridge for nic in mark.nics),
        "problem": problem,
    }
    return Machine(
        cluster=mark.cluster,
        name=found.name,
        group=mark.group,
        number=mark.number,
        driver=DRIVER,
        state=state,
        address=mark.address,
        user=mark.user or None,
        port=mark.port,
        jump=uri.jump,
        host_keys=(mark.host_key,) if mark.host_key else (),
        provider_id=_uuid(found.domain),
        image=mark.image or None,
        first_boot=mark.first_boot or None,
        details={key: text for key, text in details.items() if text},
    )


def judge(mark: Mark, state: MachineState) -> tuple[MachineState, str]:
    """What is to be said of a machine whose domain is in this state, and what is wrong with it."""
    if mark.made:
        return state, ""
    if is_at_work(mark.maker):
        return (MachineState.STOPPING if mark.leaving else MachineState.STARTING), ""
    by = f", by process {mark.maker.split('/')[1]} of {mark.maker.split('/')[0]}" if mark.maker.count("/") == 2 else ""
    return MachineState.ERROR, f"half {'removed' if mark.leaving else 'made'}{by}: the last run did not finish it"


def _state(domain: libvirt.virDomain) -> MachineState:
    import libvirt

    with missing(libvirt.VIR_ERR_NO_DOMAIN):
        return state_of(domain)
    return MachineState.STOPPING


def _uuid(domain: libvirt.virDomain) -> str:
    return str(domain.UUIDString())
