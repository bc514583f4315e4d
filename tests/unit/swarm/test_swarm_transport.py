"""The Engine API over channels, against a fake engine on loopback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_engine import Answer, FakeEngine, Request, SocketChannel

from provision.errors import UnreachableError
from provision.swarm.engine import Engine, connect_engine
from provision.swarm.errors import EngineRefusedError, EngineUnavailableError
from provision.swarm.transport import MAX_CHANNELS, EngineClient

INFO = {"Name": "lab-manager-1", "ServerVersion": "20.10.24", "Swarm": {"LocalNodeState": "inactive"}}


def test_one_channel_serves_many_calls(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /info"] = Answer(INFO)
    for _ in range(5):
        assert engine.info().name == "lab-manager-1"
    assert len(fake.channels) == 1


def test_a_known_version_costs_no_call(fake: FakeEngine) -> None:
    connect_engine("m", fake.open_channel, "1.41").close()
    assert fake.requests == []


def test_an_unknown_version_is_the_engines_own(fake: FakeEngine) -> None:
    fake.routes["GET /version"] = Answer({"ApiVersion": "1.44"})
    with connect_engine("m", fake.open_channel) as engine:
        assert engine.api_version == "1.44"


def test_an_answer_that_closes_the_connection_is_read_to_its_end(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /info"] = Answer({**INFO, "Padding": "x" * 200_000}, close=True)
    assert engine.info().server_version == "20.10.24"
    assert engine.info().server_version == "20.10.24"
    assert len(fake.channels) == 2
    assert fake.channels[0].closed


def test_a_channel_that_ended_while_idle_is_replaced(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /info"] = Answer(INFO)
    engine.info()
    fake.channels[0].eof_received = True
    engine.info()
    assert len(fake.channels) == 2


def test_many_threads_share_a_few_channels(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /info"] = Answer(INFO, delay=0.01)
    with ThreadPoolExecutor(12) as pool:
        names = {info.name for info in pool.map(lambda _: engine.info(), range(36))}
    assert names == {"lab-manager-1"}
    assert len(fake.channels) <= MAX_CHANNELS


def test_a_silent_engine_ends_the_call_at_its_deadline(fake: FakeEngine) -> None:
    fake.routes["GET /info"] = Answer(INFO, delay=5)
    engine = Engine("lab-manager-1", EngineClient(fake.open_channel, "1.41", timeout=0.2))
    with pytest.raises(EngineUnavailableError, match=r"lab-manager-1: cannot .* silent for too long"):
        engine.info()


def test_a_command_that_cannot_run_says_why() -> None:
    ended = SocketChannel(None, stderr=b"sh: 1: docker: not found\n")
    engine = connect_engine("lab-worker-1", lambda: ended, "1.41")
    with pytest.raises(EngineUnavailableError) as caught:
        engine.info()
    assert "docker: not found" in caught.value.summary
    assert caught.value.hint == "Docker Engine is not installed there"


def test_an_error_of_the_connection_itself_stays_what_it_is() -> None:
    def refuse() -> object:
        raise UnreachableError("lab-worker-1 does not answer")

    engine = connect_engine("lab-worker-1", refuse, "1.41")  # type: ignore[arg-type]
    with pytest.raises(UnreachableError, match="does not answer"):
        engine.info()


def test_a_refusal_carries_the_engines_words(fake: FakeEngine, engine: Engine) -> None:
    fake.routes["GET /nodes"] = Answer({"message": "This node is not a swarm manager."}, 503)
    with pytest.raises(EngineRefusedError) as caught:
        engine.nodes()
    assert caught.value.summary == "lab-manager-1: cannot list the nodes: This node is not a swarm manager"
    assert caught.value.status == 503


def test_the_users_environment_does_not_redirect_calls(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY", "http_proxy", "DOCKER_HOST"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    fake.routes["GET /info"] = Answer(INFO)
    with connect_engine("m", fake.open_channel, "1.41") as engine:
        assert engine.info().name == "lab-manager-1"


def test_a_big_archive_is_streamed_whole(fake: FakeEngine, engine: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(bytes(range(256)) * 20_000)
    fake.routes["POST /images/load"] = Answer(b'{"stream":"Loaded image: lab/web:1\\n"}\n')
    assert engine.load_image(archive) == ("lab/web:1",)
    assert fake.requests[0].body == archive.read_bytes()


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"message": "invalid tar header"}, 500),
        Answer(b'{"stream":"loading"}\n{"errorDetail":{},"error":"invalid tar header"}\n'),
    ],
)
def test_an_archive_that_the_engine_refuses_is_an_error(
    fake: FakeEngine, engine: Engine, tmp_path: Path, answer: Answer
) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"x" * 10)
    fake.routes["POST /images/load"] = answer
    with pytest.raises(EngineRefusedError, match=r"cannot load image\.tar: invalid tar header"):
        engine.load_image(archive)


def test_calls_name_the_version_in_their_path(fake: FakeEngine) -> None:
    seen: list[Request] = []

    def info(request: Request) -> Answer:
        seen.append(request)
        return Answer(INFO)

    fake.routes["GET /info"] = info
    with connect_engine("m", fake.open_channel, "1.41") as engine:
        engine.info()
    assert seen[0].version == "1.41"
