"""`featdepth`: every verb explains itself, and a user's mistake gets an exit code and a sentence, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import featdepth_ros
from featdepth_ros.cli import main as cli
from featdepth_ros.errors import RecordingError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "featdepth_ros.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def install_verb(monkeypatch: pytest.MonkeyPatch, action) -> None:
    """Put a verb named 'try' in the place of the real ones."""

    def add_arguments(parser) -> None:
        parser.add_argument("--n", type=int)

    verb = SimpleNamespace(DESCRIPTION="Tries.", EXAMPLE="  featdepth try", add_arguments=add_arguments, run=action)
    monkeypatch.setattr(cli, "VERBS", {"try": "tries"})
    monkeypatch.setitem(sys.modules, "featdepth_ros.cli.try", verb)


def test_no_verb_is_wrong_usage_and_help_is_not(capsys: pytest.CaptureFixture[str]):
    assert cli.main([]) == cli.WRONG_USAGE
    assert cli.main(["--help"]) == cli.DONE
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in cli.VERBS)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--version"]) == cli.DONE
    assert capsys.readouterr().out.strip() == featdepth_ros.__version__


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["infr"]) == cli.WRONG_USAGE
    assert capsys.readouterr().err == "featdepth: unknown verb 'infr'; did you mean 'infer'?\n"


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_has_help_with_an_example(verb: str):
    result = run(verb, "--help")
    assert result.returncode == 0, result.stderr
    assert f"usage: featdepth {verb}" in result.stdout
    if verb != "eval":  # its parts, `eval depth` and so on, hold the examples
        assert f"featdepth {verb}" in result.stdout.partition("example")[2]


@pytest.mark.parametrize(
    "part",
    [f"eval {kind}" for kind in ("depth", "odometry", "recording")]
    + [f"weights {action}" for action in ("info", "import")]
    + [f"bench {kind}" for kind in ("step", "loader", "network", "estimator", "node", "export")],
)
def test_every_part_of_a_verb_has_help_with_an_example(part: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        cli.main([*part.split(), "--help"])
    assert ended.value.code == 0
    assert f"featdepth {part} " in capsys.readouterr().out.partition("example:")[2]


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_refuses_an_unknown_option_without_a_traceback(verb: str):
    result = run(verb, "--no-such-option")
    assert result.returncode == cli.WRONG_USAGE
    assert "Traceback" not in result.stderr and "usage:" in result.stderr


def test_an_own_error_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def action(args) -> int:
        raise RecordingError(f"no frames in {args.n}")

    install_verb(monkeypatch, action)
    assert cli.main(["try", "--n", "3"]) == cli.FAILED
    assert capsys.readouterr().err == "featdepth try: no frames in 3\n"


def test_the_machines_state_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def action(args) -> int:
        raise OSError(28, "No space left on device")

    install_verb(monkeypatch, action)
    assert cli.main(["try"]) == cli.FAILED
    assert "No space left" in capsys.readouterr().err


def test_a_missing_package_is_a_sentence_but_a_missing_file_of_ours_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def action(args) -> int:
        raise ModuleNotFoundError("No module named 'tqdm'", name="tqdm")

    install_verb(monkeypatch, action)
    assert cli.main(["try"]) == cli.FAILED
    assert "'tqdm' is not installed" in capsys.readouterr().err

    def bug(args) -> int:
        raise ModuleNotFoundError("No module named 'featdepth_ros.gone'", name="featdepth_ros.gone")

    install_verb(monkeypatch, bug)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["try"])


def test_an_interrupt_is_named_and_a_bug_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(args) -> int:
        raise KeyboardInterrupt

    install_verb(monkeypatch, interrupted)
    assert cli.main(["try"]) == cli.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err

    def bug(args) -> int:
        raise ZeroDivisionError

    install_verb(monkeypatch, bug)
    with pytest.raises(ZeroDivisionError):
        cli.main(["try"])


def test_the_verbs_result_is_the_exit_code(monkeypatch: pytest.MonkeyPatch):
    install_verb(monkeypatch, lambda args: 1)
    assert cli.main(["try"]) == 1


def test_wrong_usage_of_a_verb_is_exit_code_2(monkeypatch: pytest.MonkeyPatch):
    install_verb(monkeypatch, lambda args: 0)
    with pytest.raises(SystemExit) as stop:
        cli.main(["try", "--n", "many"])
    assert stop.value.code == cli.WRONG_USAGE


@pytest.mark.slow
def test_idle_threads_sleep_unless_the_user_says_otherwise() -> None:
    code = "import os, sys; from featdepth_ros.cli.main import main; main(['weights', 'info', 'no-such']); "
    code += "print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        if given:
            environment["OMP_WAIT_POLICY"] = given
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split()[-1] == expected
