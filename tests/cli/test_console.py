"""What a person sees of a training: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import pytest

from adaptershare_cli.cli.console import Terminal


@pytest.mark.parametrize("interactive", [True, False])
def test_training_on_a_terminal_and_elsewhere(
    interactive: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1" if interactive else "")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("adaptershare_cli.cli.console.PLAIN_EVERY_SECONDS", 0.0)
    terminal = Terminal()
    assert terminal.console.is_terminal == interactive
    with terminal.training("a run", 3) as view:
        view.step(1, "rte", 0.5, 8)
        view.scoring("rte", "dev [1]", 12)
        if view.bar:
            view.bar.refresh()
        view.note("a note")
    out = capsys.readouterr().out
    assert "a run: a note" in out
    assert ("scoring rte dev [1] (12 rows)" in out) == interactive
    assert ("a run: step 1/3  task rte  loss 0.500" in out) != interactive
