"""Plans for the vendor's tools: golden text, every failure, and a run against a docker engine of our own."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
from pathlib import Path

import pytest
from target.test_dcf import dcf

from dpuflow import cli
from dpuflow.errors import ConfigError, DataError, PlanError
from dpuflow.target.select import find_target
from dpuflow.vendor.compile_plan import CompileRequest, compile_plan
from dpuflow.vendor.executors import execute, find_tool
from dpuflow.vendor.outputs import check_elf
from dpuflow.vendor.plan import plan_text
from dpuflow.vendor.quantize_plan import QuantizeRequest, quantize_plan
from dpuflow.vendor.releases import RELEASES, find_release

from vendor.fake_engine import Engine

ARM32 = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x01\x00\x28\x00" + bytes(32)
ARM64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x01\x00\xb7\x00" + bytes(44)

# A stand-in for the vendor's compiler and the cross linker: writes what it was asked for.
DNNC = """#!/bin/sh
for word in "$@"; do
    case $word in --output_dir=*) out=${word#--output_dir=};; --net_name=*) net=${word#--net_name=};; esac
done
[ -s deploy_model.pb ] && [ -s core.dcf ] || exit 3
echo "compiling $net"
cp "$ELF_SAMPLE" "$out/dpu_$net.elf"
"""
GCC = """#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = -o ] && target=$2; shift; done
cp "$ELF_SAMPLE" "$target"
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "deploy_model.pb").write_bytes(b"graph")
    (tmp_path / "quantize_eval_model.pb").write_bytes(b"graph")
    (tmp_path / "frozen_model.pb").write_bytes(b"graph")
    (tmp_path / "calibration.npz").write_bytes(b"images")
    (tmp_path / "ZedBoard.dcf").write_bytes(dcf())
    return tmp_path


def request(files, **changes) -> CompileRequest:
    fields = {"graph": files / "deploy_model.pb", "core": find_target("zedboard"), "name": "chars74k",
              "dcf": files / "ZedBoard.dcf"}
    return CompileRequest(**(fields | changes))


def quantize_request(files) -> QuantizeRequest:
    return QuantizeRequest(files / "frozen_model.pb", files / "calibration.npz", ["input_real"], [(1, 32, 32, 1)],
                           ["discriminator/out"])


@pytest.mark.parametrize("name", ["dnndk-3.1", "1.1", "1.4"])
def test_plans_to_quantize(golden, files, name):
    plan = quantize_plan(quantize_request(files), find_release(name))
    golden(f"plan_quantize_{name}.txt", plan_text(plan, "docker").replace(str(files), "FILES"))


@pytest.mark.parametrize("name", ["dnndk-3.1", "1.0"])
def test_plans_to_compile_for_the_zedboard(golden, files, name):
    plan = compile_plan(request(files), find_release(name))
    golden(f"plan_compile_{name}.txt", plan_text(plan, "docker").replace(str(files), "FILES"))


def test_plan_to_compile_for_an_mpsoc_core(golden, files):
    core = find_target("DPUCZDX8G_ISA1_B4096")
    plan = compile_plan(request(files, core=core, graph=files / "quantize_eval_model.pb"), find_release("2.5"))
    golden("plan_compile_2.5.txt", plan_text(plan, "local").replace(str(files), "FILES"))


@pytest.mark.parametrize("release", [release.name for release in RELEASES])
def test_every_release_makes_both_plans_with_a_script_that_a_shell_reads(files, tmp_path, release):
    core = find_target("zedboard" if release in ("dnndk-3.1", "1.0", "1.1", "1.2") else "DPUCZDX8G_ISA1_B1152")
    for plan in (quantize_plan(quantize_request(files), find_release(release)),
                 compile_plan(request(files, core=core), find_release(release))):
        script = tmp_path / "script.sh"
        script.write_text(plan.script)
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
        assert plan.products
        assert plan.digest == plan.digest


def test_a_digest_follows_the_input(files):
    before = compile_plan(request(files), find_release("dnndk-3.1")).digest
    (files / "deploy_model.pb").write_bytes(b"other")
    assert compile_plan(request(files), find_release("dnndk-3.1")).digest != before


def test_what_cannot_be_planned_is_named(files):
    with pytest.raises(ConfigError, match="reads the core from a .dcf"):
        compile_plan(request(files, dcf=None), find_release("dnndk-3.1"))
    with pytest.raises(ConfigError, match="does not serve this board"):
        compile_plan(request(files), find_release("2.5"))
    with pytest.raises(ConfigError, match=r"dnndk-3.1, 1.0"):
        find_release("9.9")


def test_the_licence_is_the_user_s_to_accept(files, tmp_path):
    plan = compile_plan(request(files), find_release("dnndk-3.1"))
    with pytest.raises(PlanError, match="licence"):
        execute(plan, "docker", tmp_path / "out", licence_accepted=False)
    with pytest.raises(PlanError, match="no such executor"):
        execute(plan, "cloud", tmp_path / "out", licence_accepted=True)
    (files / "deploy_model.pb").unlink()
    with pytest.raises(DataError, match="not there"):
        execute(plan, "local", tmp_path / "out", licence_accepted=True)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in (("dnnc", DNNC), ("arm-linux-gnueabihf-gcc", GCC)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    sample = tmp_path / "sample.elf"
    sample.write_bytes(ARM32)
    monkeypatch.setenv("ELF_SAMPLE", str(sample))
    return folder


@pytest.fixture
def engine(tools, monkeypatch, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "d.sock"
    server = Engine(path, tools, ("dpuflow-dnndk:3.1",))
    server.start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    yield server
    server.shutdown()
    server.server_close()


def compile_vendor(files, output, *more) -> int:
    return cli.main(["compile", str(files / "deploy_model.pb"), "--backend", "vendor", "--dcf",
                     str(files / "ZedBoard.dcf"), "-o", str(output / "chars74k.so"), *more])


def test_docker_runs_the_plan_and_brings_the_library_home(files, engine, tmp_path, capsys):
    pytest.importorskip("docker.errors")
    assert compile_vendor(files, tmp_path / "out", "--licence-accepted") == 0
    text = capsys.readouterr().out
    assert "compiling chars74k" in text
    assert (tmp_path / "out" / "libdpumodelchars74k.so").read_bytes() == ARM32
    spec = engine.created[0]
    assert spec["Image"] == "dpuflow-dnndk:3.1"
    assert spec["HostConfig"]["NetworkMode"] == "none"
    assert f"HOST_UID={os.getuid()}" in spec["Env"]
    assert engine.removed == ["/containers/c1"]


def test_docker_s_failures_are_named(files, engine, tmp_path, capsys, tools):
    pytest.importorskip("docker.errors")
    engine.images = ()
    assert compile_vendor(files, tmp_path / "out", "--licence-accepted") == 1
    assert "docker build -f docker/Dockerfile.dnndk" in capsys.readouterr().err
    engine.images = ("dpuflow-dnndk:3.1",)
    (tools / "dnnc").write_text("#!/bin/sh\necho broken; exit 9\n")
    assert compile_vendor(files, tmp_path / "out", "--licence-accepted") == 1
    assert "exit code 9" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library's own unclosed socket
def test_no_engine_is_named(files, tmp_path, monkeypatch, capsys):
    pytest.importorskip("docker.errors")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert compile_vendor(files, tmp_path / "out", "--licence-accepted") == 1
    assert "no docker engine answers" in capsys.readouterr().err
    gc.collect()


def test_a_local_tool_is_found_by_its_variable(files, tools, tmp_path, monkeypatch):
    monkeypatch.setenv("DPUFLOW_DNNC", str(tools / "dnnc"))
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tools}")
    assert compile_vendor(files, tmp_path / "out", "--licence-accepted", "--executor", "local") == 0
    assert (tmp_path / "out" / "dpu_chars74k.elf").is_file()


def test_our_own_command_is_never_taken_for_the_vendor_s(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (tmp_path / "dnnc").write_text("#!/bin/sh\n")
    (tmp_path / "dnnc").chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DPUFLOW_DNNC", raising=False)
    with pytest.raises(PlanError, match="dpuflow's own"):
        find_tool("dnnc")
    with pytest.raises(PlanError, match="DPUFLOW_DLET"):
        find_tool("dlet")


def test_over_ssh(files, tools, tmp_path, monkeypatch):
    """``ssh`` and ``scp`` of a few lines: the host is a folder."""
    host = tmp_path / "host"
    host.mkdir()
    scripts = {"ssh": f'#!/bin/sh\nshift; cd {host} && sh -c "$*"\n',
               "scp": '#!/bin/sh\nfor last; do :; done\n'
                      f'place() {{ case $1 in board:*) echo "{host}/${{1#board:}}";; *) echo "$1";; esac; }}\n'
                      'while [ $# -gt 1 ]; do case $1 in -*) ;; *) cp -r "$(place "$1")" "$(place "$last")";; esac\n'
                      'shift; done\n'}
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert compile_vendor(files, tmp_path / "out", "--licence-accepted", "--executor", "ssh:board") == 0
    assert (tmp_path / "out" / "libdpumodelchars74k.so").is_file()
    assert list(host.iterdir()) == []


def test_the_wrong_elf_class_is_refused(files, tools, tmp_path, monkeypatch, capsys):
    (tmp_path / "sample.elf").write_bytes(ARM64)
    monkeypatch.setenv("DPUFLOW_DNNC", str(tools / "dnnc"))
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tools}")
    assert compile_vendor(files, tmp_path / "out", "--licence-accepted", "--executor", "local") == 1
    assert "64 bit, machine 183" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_elf_headers(tmp_path):
    for name, data, bits in (("a", ARM32, 32), ("b", ARM64, 64)):
        (tmp_path / name).write_bytes(data)
        check_elf(tmp_path / name, bits)
    (tmp_path / "c").write_bytes(b"no")
    with pytest.raises(PlanError, match="not an ELF"):
        check_elf(tmp_path / "c", 32)


def test_a_plan_is_shown_without_running_anything(files, tmp_path, capsys):
    assert compile_vendor(files, tmp_path / "out", "--plan") == 0
    text = capsys.readouterr().out
    assert "--cpu_arch=arm32" in text
    assert not (tmp_path / "out").exists()
    assert Path(files / "deploy_model.pb").is_file()
