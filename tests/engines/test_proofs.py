"""Proofs outlive a process, but not another processor, another build, other code or a damaged file."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dpuflow.engines import proofs, remembered, selftest
from dpuflow.engines.litert.part import LITERT

from engines.networks import random_network


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def probed(monkeypatch) -> list[set[str]]:
    """What the self-test of a fresh process computes for a network."""
    asked: list[set[str]] = []
    monkeypatch.setattr(selftest, "_passed", {})
    monkeypatch.setattr(selftest, "failures", lambda wanted, library: asked.append(set(wanted)) or iter(()))
    selftest.self_test(random_network(3), LITERT)
    return asked


def test_a_second_process_tests_nothing_again(monkeypatch):
    assert len(probed(monkeypatch)) == 1
    assert probed(monkeypatch) == []


def test_further_kinds_of_layers_are_tested(monkeypatch):
    proofs.keep("LiteRT", "ai_edge_litert", ["always"])
    (asked,) = probed(monkeypatch)
    assert asked == set(selftest.kinds(random_network(3)))
    assert "always" not in asked


@pytest.mark.parametrize("change", ["processor", "library", "code"])
def test_anything_else_is_tested_anew(monkeypatch, change):
    probed(monkeypatch)
    if change == "processor":
        monkeypatch.setattr(remembered, "processor", lambda: "another")
    else:
        part = "ai_edge_litert" if change == "library" else "engines"
        files = remembered._files
        monkeypatch.setattr(remembered, "_files", lambda folder: [*files(folder), "newer"] if folder.name == part else
                            files(folder))
    assert len(probed(monkeypatch)) == 1


def test_a_library_says_nothing_for_another():
    proofs.keep("LiteRT", "ai_edge_litert", ["always"])
    assert proofs.known("LiteRT", "ai_edge_litert") == {"always"}
    assert proofs.known("OpenVINO", "ai_edge_litert") == set()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', "\udcff"])
def test_a_damaged_file_holds_nothing_and_is_replaced(monkeypatch, text):
    path = proofs.STORE.file()
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert len(probed(monkeypatch)) == 1
    assert probed(monkeypatch) == []


def test_wrong_kinds_hold_nothing(monkeypatch):
    probed(monkeypatch)
    path = proofs.STORE.file()
    path.write_text(path.read_text().replace('"always"', "7"))
    assert len(probed(monkeypatch)) == 1


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(probed(monkeypatch)) == 1
    assert len(probed(monkeypatch)) == 1


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    def nowhere() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(remembered.Path, "home", nowhere)
    assert proofs.STORE.file() is None
    assert len(probed(monkeypatch)) == 1
    assert len(probed(monkeypatch)) == 1


def test_a_system_that_does_not_name_its_processor_keeps_nothing(monkeypatch):
    monkeypatch.setattr(remembered, "processor", lambda: None)
    assert remembered.state("ai_edge_litert") is None
    probed(monkeypatch)
    assert not proofs.STORE.file().exists()


def test_old_builds_are_forgotten(monkeypatch):
    for number in range(20):
        monkeypatch.setattr(remembered, "processor", lambda number=number: f"chip {number}")
        proofs.keep("LiteRT", "ai_edge_litert", ["always"])
    assert len(proofs.STORE.all()) == 16
    assert proofs.known("LiteRT", "ai_edge_litert") == {"always"}


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="no /proc/cpuinfo")
def test_the_processor_has_a_name():
    assert "AVX" in (remembered.processor() or "") or "ASIMD" in (remembered.processor() or "")


def test_no_notice_of_litert_reaches_the_console_in_either_process():
    """The first process tests the kernels, the second one knows them."""
    code = ("from dpuflow.engines import open_engine, probes; import numpy as np; "
            "open_engine(probes.leaky_graph(8)).run(np.zeros((1, 97), np.int8))")
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr == ""
