"""completion: lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

#: The variable by which the shell's script asks the command for completions; click's own name for it.
COMPLETE_VARIABLE = "_RECOGNIZER_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), metavar="SHELL")
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete `recognizer`.

    \b
    bash:  eval "$(recognizer completion bash)"      in ~/.bashrc
    zsh:   eval "$(recognizer completion zsh)"       in ~/.zshrc
    fish:  recognizer completion fish > ~/.config/fish/completions/recognizer.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click knows these three
    root = click.get_current_context().find_root().command
    # the text alone: `source()` would start bash to ask for its version
    script = kind(root, {}, "recognizer", COMPLETE_VARIABLE)
    click.echo(script.source_template % script.source_vars())
