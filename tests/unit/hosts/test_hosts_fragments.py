"""Shell fragments, run for real by sh in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from provision.hosts.fragments import Fragment, Outcome, command, compose, outcomes, write_file

MARK = "provision-0123456789ab"


def run(script: str, *, shell: str = "sh") -> str:
    done = subprocess.run([shell, "-s"], input=script.encode(), capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def applied(*fragments: Fragment) -> tuple[Outcome, ...]:
    return outcomes(run(compose(fragments, mark=MARK)), fragments, mark=MARK)


@pytest.mark.parametrize(
    "content",
    [
        "plain\n",
        "",
        "\n",
        "'single' \"double\" `back` $HOME ${x} $(id) \\n \\\\ \\\n",
        "a\tb\n\n\n  trailing blanks   \n",
        "EOF\nEND_ABC\n",
        "ä ö €\n",
        "%s %d\n",
    ],
)
def test_a_file_is_written_to_the_byte(tmp_path: Path, content: str) -> None:
    path = tmp_path / "deep" / "fol der" / "it's.conf"
    (outcome,) = applied(Fragment("write", write_file(str(path), content, mode="0640")))
    assert outcome == Outcome("write", 0, "")
    assert path.read_bytes() == (content if content.endswith("\n") else content + "\n").encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["it's.conf"]


def test_a_missing_last_newline_is_added(tmp_path: Path) -> None:
    applied(Fragment("write", write_file(str(tmp_path / "file"), "no end")))
    assert (tmp_path / "file").read_text() == "no end\n"


def test_words_are_quoted() -> None:
    assert command("echo", "a b", "$x", "it's") == """echo 'a b' '$x' 'it'"'"'s'"""


def test_fragments_run_in_order_and_keep_their_output() -> None:
    found = applied(Fragment("one", "echo 1; echo 2 >&2"), Fragment("two", "true"), Fragment("three", "echo 3"))
    assert found == (Outcome("one", 0, "1\n2"), Outcome("two", 0, ""), Outcome("three", 0, "3"))


@pytest.mark.parametrize(
    ("body", "status"),
    [("echo before; false; echo after", 1), ("echo before; exit 7", 7), ("echo before; echo $unset_variable", 2)],
)
def test_the_first_that_fails_ends_the_script(tmp_path: Path, body: str, status: int) -> None:
    first, second = Fragment("fails", body), Fragment("never", f"touch {tmp_path}/touched")
    text = run(compose((first, second), mark=MARK), shell="dash" if shutil.which("dash") else "sh")
    (outcome,) = outcomes(text, (first, second), mark=MARK)
    assert (outcome.name, outcome.status) == ("fails", status)
    assert outcome.output.splitlines()[0] == "before"
    assert "after" not in outcome.output.split()
    assert not (tmp_path / "touched").exists()
    assert f"@{MARK} whole" not in text


def test_a_failure_in_the_middle_of_a_fragment_is_not_lost() -> None:
    (outcome,) = applied(Fragment("middle", "false\ntrue"))
    assert outcome.status == 1


def test_a_whole_script_says_so() -> None:
    assert f"@{MARK} whole" in run(compose((Fragment("one", "true"),), mark=MARK)).splitlines()
    assert f"@{MARK} whole" in run(compose((), mark=MARK)).splitlines()


def test_a_fragment_that_reads_stdin_does_not_eat_the_script() -> None:
    found = applied(Fragment("reads", "cat; read -r x || echo nothing to read"), Fragment("next", "echo here"))
    assert [outcome.output for outcome in found] == ["nothing to read", "here"]


def test_output_without_its_last_newline_hides_no_mark() -> None:
    found = applied(Fragment("one", "printf no-newline"), Fragment("two", "printf 'a\\n\\nb'; exit 3"))
    assert found == (Outcome("one", 0, "no-newline"), Outcome("two", 3, "a\n\nb"))


def test_lines_that_look_like_other_marks_are_output() -> None:
    lines = "@provision-other start 5\n@ end\n @x"
    (outcome,) = applied(Fragment("sly", f"printf '%s\\n' {command(lines)}"))
    assert outcome.output == lines


def test_variables_and_folder_of_one_fragment_are_not_the_next_ones() -> None:
    found = applied(
        Fragment("one", "x=1; cd /"), Fragment("two", 'echo "${x:-unset}"; [ "$PWD" = / ] || echo elsewhere')
    )
    assert found[1].output.splitlines()[0] == "unset"


def test_a_fragment_that_began_and_never_ended_has_no_status() -> None:
    fragments = (Fragment("one", "true"), Fragment("two", "sleep 9"))
    text = f"@{MARK} start 0\n\n@{MARK} end 0 0\n@{MARK} start 1\nhalf a li"
    assert outcomes(text, fragments, mark=MARK) == (Outcome("one", 0, ""), Outcome("two", None, "half a li"))


def test_a_script_that_is_cut_off_runs_nothing(tmp_path: Path) -> None:
    """A connection that breaks while the script is sent must not leave half of it done."""
    whole = compose((Fragment("one", f"touch {tmp_path}/one"), Fragment("two", f"touch {tmp_path}/two")), mark=MARK)
    for end in range(0, whole.rindex("provision_apply"), 7):
        subprocess.run(["sh", "-s"], input=whole[:end].encode(), capture_output=True, timeout=20, check=False)
        assert list(tmp_path.iterdir()) == []
