"""The help of a command: the options that most people need, or with --help-all every one; none is ever cut.

Whether an option is basic is declared where it is: `option(basic=True)` of a setting, `BASIC` in an annotation.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from typer.core import TyperCommand

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BASIC = "basic"  # stands in the annotation of a parameter that the basic help shows
HELP_ALL = "--help-all"
LEAST_HELP = 24  # cells beside the names; with less, the text stands below them
INDENT = 4


class Command(TyperCommand):
    """A command with a basic help and a whole one."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, and those that show help."""
        return [*super().get_params(ctx), self._help_all(ctx)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the basic help."""
        has_more = not all(map(self._is_basic, self.params))
        params = self.get_params(ctx) if has_more else super().get_params(ctx)
        print_help(self, ctx, [param for param in params if self._is_basic(param)], has_more)

    @cached_property
    def _signature(self) -> inspect.Signature:
        assert self.callback is not None
        return inspect.signature(self.callback)

    def _is_basic(self, param: Any) -> bool:
        parameter = self._signature.parameters.get(param.name)
        return parameter is None or BASIC in get_args(parameter.annotation)  # --help is no parameter

    def _help_all(self, ctx: Any) -> Any:
        """The option --help-all: as --help, of which there is one each."""
        if not hasattr(self, "_all"):
            self._all = copy.copy(self.get_help_option(ctx))
            assert self._all is not None
            self._all.name, self._all.opts, self._all.help = "help_all", [HELP_ALL], "Show all options and exit."
            self._all.callback = self._show_all
        return self._all

    def _show_all(self, ctx: Any, param: Any, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            print_help(self, ctx, self.get_params(ctx))
            ctx.exit()


def print_help(command: TyperCommand, ctx: Any, params: Sequence[Any], has_more: bool = False) -> None:
    """Usage, what the command does, and its options in panels."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Padding(Text(command.get_usage(ctx), style="bold"), 1))
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        console.print(Padding(Text.from_markup(paragraph.replace("\n", " ")), (0, 1, 1, 1)))
    panels: dict[str, list[Any]] = {}
    for param in params:
        panels.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(param)
    for title, options in panels.items():
        _print_panel(console, title, [(_names(option), _explained(option, ctx)) for option in options])
    if has_more:
        more = len(command.get_params(ctx)) - len(params)
        more_options = f"{more} more option{'s' if more > 1 else ''}"
        console.print(Padding(Text(f"{more_options}: {ctx.command_path} {HELP_ALL}"), (0, 1, 1, 1)))


def _print_panel(console: Console, title: str, rows: Iterable[tuple[Text, Text]]) -> None:
    """A row an option: names beside what they mean, or above it where that is too narrow."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.table import Table

    rows = list(rows)
    widest = max(line.cell_len for names, _ in rows for line in names.split("\n"))
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, width=widest)
    table.add_column(ratio=1, overflow="fold")
    for names, text in rows:
        table.add_row(names, text)
    below = Group(*(part for names, text in rows for part in (names, Padding(text, (0, 0, 0, INDENT)))))
    is_wide = console.width - 4 - 2 - widest >= LEAST_HELP
    console.print(Panel(table if is_wide else below, title=title, title_align="left", border_style="dim"))


def _names(option: Any) -> Text:
    """How an option is written, and below it how it is turned off."""
    from rich.text import Text

    if option.param_type_name == "argument":
        return Text(option.metavar, style="bold cyan")
    long = sorted(option.opts, key=lambda written: not written.startswith("--"))
    names = Text("  ").join(Text(written, style="bold cyan") for written in long)
    for written in option.secondary_opts:
        names.append(f"\n{written}", style="bold magenta")
    return names


def _explained(option: Any, ctx: Any) -> Text:
    """What an option takes and means, its bounds and default; of an argument what it means."""
    from rich.text import Text

    if option.param_type_name == "argument":
        return Text(option.help)
    choices = option.type_descriptor.choices or ()
    said = option.help or ""
    takes = "" if option.is_flag or _explains(said, choices) else option.display_type(ctx).replace(" range>", ">")
    bounds = _bounds(option.min, option.max)
    default = option.get_default(ctx, call=False) if option.show_default is True else option.show_default
    notes = [
        *([f"env var: {option.envvar}"] if option.envvar else []),
        *([f"default: {default}"] if default not in (None, False, "") else []),
    ]
    text = Text()
    if takes:
        text.append(f"{takes.replace('|', ' | ')}{bounds} ", style="yellow")
    text.append(said)
    for note in notes:
        text.append(f" [{note}]", style="dim")
    return text


def _explains(said: str, choices: Iterable[Any]) -> bool:
    """Whether a text names every choice with what it means, so that they need not be listed."""
    choices = list(choices)
    return bool(choices) and all(f"{choice}: " in said or f"{choice} (" in said for choice in choices)


def _bounds(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f" [{'' if low is None or high is None else f'{low}<='}x{f'<={high}' if high is not None else f'>={low}'}]"
