"""Files of URLs, names in DNS, and what servers say of their load."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from reasoning.errors import RecipeError
from reasoning.http import metrics
from reasoning.http.sources import Place, SourceError, source, sources, urls
from reasoning.http.standing import Load


def places(entry: str) -> list[Place]:
    return list(asyncio.run(source(entry, "openai").places()))


def test_a_file_lists_a_url_a_line(tmp_path: Path) -> None:
    file = tmp_path / "replicas.txt"
    file.write_text("# ours\n\nhttp://a:8000/v1/\n  https://b/v1 \nhttp://a:8000/v1\n")
    known = [Place("http://a:8000/v1"), Place("https://b/v1")]
    assert places(f"file:{file}") == places(f"file://{file}") == known
    file.write_bytes(b"\xef\xbb\xbfhttp://a/v1\r\n")
    assert places(f"file:{file}") == [Place("http://a/v1")]
    file.write_text("# none today\n")
    assert places(f"file:{file}") == []


def test_a_path_may_have_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "task-7.txt").write_text("http://a/v1")
    monkeypatch.setenv("TASK", "7")
    entry = f"file:{tmp_path}/task-$TASK.txt"
    assert places(entry) == [Place("http://a/v1")]
    assert source(entry, "openai").name == entry  # the same recipe in every task


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a:8000", r"r.txt, line 2: the line is 'a:8000' \(no address\); write http://HOST:PORT"),
        ("http://a b/v1", "line 2: the line is"),
        ("http://me:secret@a/v1", "line 2: the line holds a password or a query"),
        ("http://a:99999/v1", "line 2: the line is"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "r.txt"
    file.write_text(f"http://a/v1\n{line}\n")
    with pytest.raises(RecipeError, match=message) as error:
        source(f"file:{file}", "openai")
    assert "secret" not in str(error.value)
    with pytest.raises(SourceError, match=message):
        urls(f"\n{line}", "r.txt")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    with pytest.raises(SourceError, match=r"r\.txt cannot be read \(No such file"):
        places(f"file:{file}")  # it may come
    file.write_bytes(b"http://a/v1\n\xff\n")
    with pytest.raises(RecipeError, match=r"r\.txt is not UTF-8 \(byte 12\)"):
        source(f"file:{file}", "openai")
    with pytest.raises(RecipeError, match=r"cannot be read \(Is a directory\)"):
        source(f"file:{tmp_path}", "openai")


@pytest.mark.parametrize("entry", ["file:", "file://", "file:/nowhere/at/all/r.txt"])
def test_a_file_without_a_folder_is_a_mistake(entry: str) -> None:
    with pytest.raises(RecipeError, match=r"no folder .*write file:/PATH/TO/replicas\.txt"):
        source(entry, "openai")


def test_a_name_stands_for_all_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = [(0, 0, 0, "", (host, 8000)) for host in ("10.0.0.2", "fd00::1", "10.0.0.2")]

    def look_up(host: str, port: int, *_: Any) -> Any:
        assert (host, port) == ("servers", 8000)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = "http://servers:8000/v1"
    assert places(f"dns:{url}/") == [Place(url, "10.0.0.2"), Place(url, "fd00::1")]
    assert str(Place(url, "10.0.0.2", 1)) == f"{url} at 10.0.0.2, rank 1"

    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SourceError, match=r"the name 'servers' cannot be looked up \(Name or"):
        places(f"dns:{url}")


def test_mistakes_in_a_base_url() -> None:
    with pytest.raises(RecipeError, match="openai: base_url is an empty list"):
        sources([], "openai")
    with pytest.raises(RecipeError, match=r"openai: base_url is 'servers:8000/v1'"):
        source("dns:servers:8000/v1", "openai")
    assert [s.changes for s in sources(["http://a/v1", "dns:http://b/v1"], "x")] == [False, True]


VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 5.0
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:num_requests_waiting{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="1",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
"""


def test_loads_by_everybody_s_names() -> None:
    assert metrics.load(VLLM) == Load(8, 2, 0.75)
    assert metrics.load(VLLM, rank=1) == Load(5, 2, 0.75)
    assert metrics.ranks(VLLM) == [0, 1]
    sglang = b'sglang:num_running_reqs{x="1"} 4\nsglang:num_queue_reqs{x="1"} 1\n'
    assert metrics.load(sglang + b'sglang:token_usage{x="1"} 0.5\n') == Load(4, 1, 0.5)
    llama = b"llamacpp:requests_processing 4\nllamacpp:requests_deferred 0\n"
    assert metrics.load(llama) == Load(4, 0)
    assert metrics.ranks(sglang + llama) == []


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>", b"vllm:num_requests_running 1", b"process_cpu_seconds_total 1.0",
     re.sub(rb"[0-9.]+$", b"NaN", VLLM, flags=re.MULTILINE), VLLM.replace(b"} ", b"} -")],
)  # fmt: skip
def test_what_says_nothing_of_a_load(text: bytes) -> None:
    assert metrics.load(text) is None
