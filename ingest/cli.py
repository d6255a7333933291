"""The command line, ``ttv``: each part of the product adds its own commands."""

from __future__ import annotations

import typer

from infra.letters import commands as letter_commands
from infra.stack import commands as stack_commands
from ingest import commands as client_commands
from ingest import key_commands, webhook_commands
from ingest import verify as verify_command

app = typer.Typer(
    name="ttv",
    help="Text to video on your own machines: run the service, send it jobs, see what it does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
stack_commands.register(app)
client_commands.register(app)
key_commands.register(app)
webhook_commands.register(app)
verify_command.register(app)
letter_commands.register(app)


if __name__ == "__main__":
    app()
