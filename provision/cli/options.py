"""Options that several commands share: one name and one help text for each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Progress(StrEnum):
    """How progress is shown, on stderr."""

    AUTO = "auto"
    TTY = "tty"
    PLAIN = "plain"
    JSON = "json"
    QUIET = "quiet"


class Output(StrEnum):
    """How data is shown, on stdout."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    NAME = "name"


InventoryArgument: TypeAlias = Annotated[
    Path | None,
    typer.Argument(help="The inventory file; without one, ./inventory.yml or the cluster named by -c."),
]
ClusterOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--cluster", "-c", envvar="PROVISION_CLUSTER", help="A cluster's name, or its inventory file."),
]
YesOption: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before machines are destroyed.")]
ProgressOption: TypeAlias = Annotated[
    Progress, typer.Option(envvar="PROVISION_PROGRESS", help="How progress is shown, on stderr.")
]
VerboseOption: TypeAlias = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Show causes; twice, also what the hosts print.")
]
AcceptOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--accept-new-host-keys", help="Trust the SSH host keys of hosts that were never seen, and remember them."
    ),
]
AskPassOption: TypeAlias = Annotated[
    bool, typer.Option("--ask-pass", help="Ask for the SSH password, for hosts that no key opens yet.")
]
OutputOption: TypeAlias = Annotated[Output, typer.Option("--output", "-o", help="How the data is shown.")]
FormatOption: TypeAlias = Annotated[
    str | None, typer.Option("--format", help="A Jinja template for each row, like '{{ name }} {{ address }}'.")
]
NamesOption: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print names only.")]
