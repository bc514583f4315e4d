"""Reading stacks from files: what comes along, what is rewritten, what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.errors import InventoryError
from provision.inventory.cluster import Stack
from provision.stacks.bundle import Bundle, read_bundle


def bundle_of(
    folder: Path, text: str, *, env: dict[str, str] | None = None, environ: dict[str, str] | None = None
) -> Bundle:
    (folder / "hello.yml").write_text(text)
    return read_bundle(Stack(name="hello", files=(folder / "hello.yml",), env=env or {}), environ or {})


def text_of(bundle: Bundle, index: int = 0) -> str:
    return bundle.compose[index].data.decode()


def loaded(bundle: Bundle) -> Any:
    return yaml.safe_load(text_of(bundle))


def name_of(key: str, data: bytes) -> str:
    return f"hello_{key}-{hashlib.sha256(data).hexdigest()[:10]}"


def problems_of(folder: Path, text: str, **values: Any) -> tuple[str, ...]:
    with pytest.raises(InventoryError) as caught:
        bundle_of(folder, text, **values)
    return tuple(str(problem) for problem in caught.value.problems)


def test_a_text_without_references_changes_by_its_version_only(tmp_path: Path) -> None:
    text = "# ours\nservices:\n  web: {image: a, ports: [22:22]} # kept\n"
    assert text_of(bundle_of(tmp_path, text)) == text.replace("services:", 'version: "3.9"\nservices:')


def test_a_stated_version_is_left_alone(tmp_path: Path) -> None:
    text = 'version: "3.7"\nservices: {web: {image: a}}\n'
    assert text_of(bundle_of(tmp_path, text)) == text


@pytest.mark.parametrize(
    "section",
    [
        "configs:\n  page:\n    file: ./page.txt\n    labels: {a: b}\n",
        "configs:\n  page:\n    labels: {a: b}\n    file: page.txt # where\n",
        "configs: {page: {labels: {a: b}, file: ./page.txt}}\n",
        'configs: {"page": {"labels": {"a": "b"}, "file": "page.txt"}}\n',
        "configs:\n  page: &anchor\n    labels: {a: b}\n    file: &path >\n      page.txt\n",
        "x-base: &base\n  file: page.txt\nconfigs:\n  page:\n    <<: *base\n    labels: {a: b}\n",
        "configs:\n  page: !!map\n    labels: {a: b}\n    file: !!str page.txt\n",
    ],
)
def test_a_config_comes_along_and_is_named_after_its_content(tmp_path: Path, section: str) -> None:
    (tmp_path / "page.txt").write_bytes(b"hello")
    text = f"services: {{web: {{image: a}}}}\n{section}networks: {{n1: {{}}}}\n"
    if ">\n" in section:
        text = text.replace("page.txt\n", "page.txt\n")
        (tmp_path / "page.txt\n").write_bytes(b"hello")
    bundle = bundle_of(tmp_path, text)
    page = loaded(bundle)["configs"]["page"]
    assert page["name"] == name_of("page", b"hello")
    assert page["labels"] == {"a": "b"}
    assert [(file.path, file.data) for file in bundle.files] == [(page["file"], b"hello")]
    assert bundle.objects == {page["name"]}
    assert loaded(bundle)["networks"] == {"n1": {}}


def test_names_that_the_author_gave_and_external_objects_stay(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    text = (
        "services: {web: {image: a}}\nconfigs:\n  own: {file: ./p, name: mine}\n  other: {external: true}\n"
        "secrets:\n  old: {external: {name: z}}\n"
    )
    data = loaded(bundle_of(tmp_path, text))
    assert data["configs"]["own"]["name"] == "mine"
    assert data["configs"]["other"] == {"external": True}
    assert data["secrets"] == {"old": {"external": {"name": "z"}}}


def test_a_version_too_old_for_names_is_raised(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    text = "version: '3.1'\nservices: {web: {image: a}}\nsecrets: {s1: {file: p}}\n"
    assert loaded(bundle_of(tmp_path, text))["version"] == "3.9"


def test_long_names_fit_into_swarms_limit(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    key = "k" * 80
    bundle = bundle_of(tmp_path, f"services: {{web: {{image: a}}}}\nconfigs: {{{key}: {{file: p}}}}\n")
    (name,) = bundle.objects
    assert len(name) == 64


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("web.env", "{0}"),
        ("[./web.env, ../up.env]", ["{0}", "{1}"]),
        ("\n      - web.env\n      - path: ../up.env\n        required: true\n", ["{0}", "{1}"]),
        ("[{path: web.env, required: false}]", ["{0}"]),
        ("[{path: absent.env, required: false}]", ["{0}"]),
        ("$DIR/up.env", "{0}"),
    ],
)
def test_env_files_come_along_in_each_form(tmp_path: Path, given: str, read: Any) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "web.env").write_text("A=1\n")
    (tmp_path / "up.env").write_text("B=2\n")
    text = f"services:\n  web:\n    image: a\n    env_file: {given}\n    init: true\n"
    bundle = bundle_of(folder, text, env={"DIR": str(tmp_path)})
    paths = [file.path for file in bundle.files]
    expected = read.format(*paths) if isinstance(read, str) else [item.format(*paths) for item in read]
    assert loaded(bundle)["services"]["web"] == {"image": "a", "env_file": expected, "init": True}


def test_a_file_that_is_named_twice_comes_once(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1")
    text = "services:\n  w1: {image: a, env_file: a.env}\n  w2: {image: a, env_file: ./a.env}\n"
    assert len(bundle_of(tmp_path, text).files) == 1


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p").write_text(folder)
        (tmp_path / folder / "c.yml").write_text(f"services: {{web: {{}}}}\nconfigs: {{{folder}: {{file: p}}}}\n")
    stack = Stack(name="hello", files=(tmp_path / "one/c.yml", tmp_path / "two/c.yml"))
    bundle = read_bundle(stack, {})
    assert [file.data for file in bundle.files] == [b"one", b"two"]
    assert [file.path for file in bundle.compose] == ["0-c.yml", "1-c.yml"]
    assert bundle.service_names == ("web",)


def test_used_variables_are_collected_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "web.env").write_text("# no $COMMENT\nFROM_FILE\nGIVEN=1\n")
    text = (
        "# $COMMENT\nservices:\n  web:\n    image: ${IMAGE:-a}:$TAG\n    env_file: web.env\n"
        "    environment: [BARE, SET=1, LATE=]\n    command: echo $$HOME ${UNSET}\n"
    )
    environ = {"TAG": "old", "BARE": "b", "FROM_FILE": "f", "SET": "no", "HOME": "/h", "COMMENT": "c"}
    bundle = bundle_of(tmp_path, text, env={"TAG": "new"}, environ=environ)
    assert bundle.variables == {"TAG": "new", "BARE": "b", "FROM_FILE": "f"}
    assert bundle.unset == ("IMAGE", "LATE", "UNSET")
    assert bundle.undefined == ("UNSET",)


def test_variables_and_contents_do_not_show_themselves(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("hunter2-file")
    text = "services: {web: {image: $PASS}}\nsecrets: {s1: {file: p}}\n"
    assert "hunter2" not in repr(bundle_of(tmp_path, text, env={"PASS": "hunter2"}))


def test_the_digest_is_of_the_content_not_of_the_place(tmp_path: Path) -> None:
    digests = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p").write_text("same")
        text = "services: {web: {image: $TAG}}\nconfigs: {c1: {file: p}}\n"
        digests.append(bundle_of(tmp_path / folder, text, env={"TAG": "1", "OTHER": folder}).digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("change", ["file", "variable", "text", "option"])
def test_the_digest_changes_with_all_that_matters(tmp_path: Path, change: str) -> None:
    text = "services: {web: {image: $TAG, env_file: e}}\n"
    (tmp_path / "hello.yml").write_text(text)
    (tmp_path / "e").write_text("A=1")
    stack = Stack(name="hello", files=(tmp_path / "hello.yml",), env={"TAG": "1"})
    before = read_bundle(stack, {}).digest
    if change == "file":
        (tmp_path / "e").write_text("A=2")
    if change == "text":
        (tmp_path / "hello.yml").write_text(text + "# more\n")
    env = {"TAG": "2"} if change == "variable" else {"TAG": "1"}
    after = Stack(name="hello", files=stack.files, env=env, prune=change != "option")
    assert read_bundle(after, {}).digest != before


def test_every_problem_is_reported_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    text = (
        "services:\n  web:\n    image: ${IMAGE:?which one}\n    env_file: gone.env\n    command: costs 5$\n"
        "    volumes: ['./data:/data']\nnetworks:\n  n: {}\nsecrets:\n  s1: {file: empty}\n"
    )
    problems = problems_of(tmp_path, text)
    first_lines = {problem.splitlines()[0].removeprefix(f"{tmp_path}/") for problem in problems}
    assert first_lines == {
        "hello.yml:3:12: variable IMAGE is required and not set: which one",
        "hello.yml:4:15: the file 'gone.env' of env_file of service 'web' does not exist",
        "hello.yml:5:14: invalid interpolation '$'",
        "hello.yml:6:15: service 'web' mounts './data', a path of this machine that the nodes do not have",
        "hello.yml:8:3: the name 'n' in networks is read as a yaml bool",
        "hello.yml:10:14: the file of secret 's1' has 0 bytes",
    }
    assert all("hint:" in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: [", ":1:12: not valid yaml"),
        ("- a\n", "a compose file must be a mapping"),
        ("", "a compose file must be a mapping"),
        ("a: 1\n---\nb: 2\n", ":2:1: not valid yaml"),
        ("services: {w: {image: *nope}}\n", "not valid yaml: found undefined alias"),
    ],
)
def test_a_file_that_is_no_compose_file_is_a_problem(tmp_path: Path, text: str, message: str) -> None:
    assert message in problems_of(tmp_path, text)[0]


def test_a_compose_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot read the compose file: no such file"):
        read_bundle(Stack(name="hello", files=(tmp_path / "no.yml",)), {})
