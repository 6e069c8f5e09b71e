"""Running a plan: in a container through the ``docker`` library, with a local tool, or over ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from dpuflow.errors import PlanError
from dpuflow.vendor.outputs import collect
from dpuflow.vendor.plan import WORKSPACE, Plan
from dpuflow.vendor.releases import LICENCE

Executor = Callable[[Plan, Path], None]


def execute(plan: Plan, executor: str, output: Path, licence_accepted: bool) -> list[Path]:
    """Run a plan and bring its products into ``output``, whole or not at all; their paths.

    ``executor``: "docker", "local" or "ssh:HOST". PlanError when the tool is missing, fails, or
    leaves a product out; the message says what to get and to run.
    """
    if not licence_accepted:
        raise PlanError("the vendor's licence is yours to accept, not this program's", where=plan.release.name,
                        remedy=f"{LICENCE}; when you have accepted it, say --licence-accepted")
    kind, _, host = executor.partition(":")
    if kind not in EXECUTORS or (kind == "ssh") != bool(host):
        raise PlanError("no such executor", where="--executor", got=executor, expected="docker, local or ssh:HOST")
    with tempfile.TemporaryDirectory(prefix="dpuflow-vendor-") as folder:
        work = Path(folder)
        plan.prepare(work)
        EXECUTORS[kind](plan, work, host)
        return collect(plan, work / "out", output)


def _docker(plan: Plan, work: Path, host: str) -> None:
    client = _docker_client()
    import docker.errors

    image = plan.release.image
    with closing(client):
        try:
            client.images.get(image)
            _run_container(client, plan, work)
        except docker.errors.ImageNotFound:
            raise PlanError("the image is not on this machine; nothing is downloaded unasked", where=image,
                            remedy=plan.release.obtain) from None
        except docker.errors.DockerException as error:
            raise PlanError(f"docker failed ({error})", where=image) from None


def _docker_client() -> Any:
    try:
        import docker.errors

        import docker
    except ImportError:
        raise PlanError("the docker library is not installed", where="--executor docker",
                        remedy="pip install 'dpuflow[vendor]', or use --executor local") from None
    try:
        client = docker.from_env()
    except (docker.errors.DockerException, OSError) as error:
        raise _no_engine(error) from None
    try:
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        client.close()
        raise _no_engine(error) from None
    return client


def _no_engine(error: Exception) -> PlanError:
    return PlanError(f"no docker engine answers ({error})", where=os.environ.get("DOCKER_HOST", "docker"),
                     remedy="install and start docker, or use --executor local or ssh:HOST")


def _run_container(client: Any, plan: Plan, work: Path) -> None:
    container = client.containers.create(
        plan.release.image, ["bash", f"{WORKSPACE}/run.sh"], working_dir=WORKSPACE, network_mode="none",
        volumes={str(work): {"bind": WORKSPACE, "mode": "rw"}},
        environment={"HOST_UID": str(os.getuid()), "HOST_GID": str(os.getgid())})
    try:
        container.start()
        with closing(container.logs(stream=True, follow=True)) as messages:
            for chunk in messages:
                sys.stdout.write(chunk.decode("utf-8", "replace"))
        status = container.wait()["StatusCode"]
    finally:
        container.remove(force=True)
    if status:
        raise PlanError("the vendor's tool failed in its container; its messages stand above",
                        where=plan.release.image, got=f"exit code {status}")


def find_tool(name: str) -> str:
    """The path of a vendor's command: ``DPUFLOW_<NAME>`` in the environment, else on the PATH."""
    variable = f"DPUFLOW_{name.upper()}"
    given = os.environ.get(variable)
    found = shutil.which(given or name)
    if found is None:
        raise PlanError("the vendor's command is not here", where=given or name,
                        remedy=f"set {variable} to its path, or use --executor docker")
    own = Path(sys.executable).resolve().parent
    if given is None and Path(found).resolve().parent == own:
        raise PlanError(f"the {name} found first is dpuflow's own", where=found,
                        remedy=f"set {variable} to the path of the vendor's command")
    return found


def _local(plan: Plan, work: Path, host: str) -> None:
    commands = {plan.release.quantizer, plan.release.compiler} & {line.split()[0] for line in plan.commands}
    links = work / "bin"
    links.mkdir()
    for name in commands:
        (links / name).symlink_to(find_tool(name))
    environment = {**os.environ, "PATH": f"{links}{os.pathsep}{os.environ.get('PATH', '')}"}
    _checked(["bash", str(work / "run.sh")], plan, environment)


def _ssh(plan: Plan, work: Path, host: str) -> None:
    """Copy the work folder to a host, run there, copy the products back; ssh's own configuration applies."""
    if host.startswith("-"):
        raise PlanError("not a host", where="--executor", got=host)
    remote = f".dpuflow-vendor-{plan.digest[:16]}"
    _checked(["ssh", host, f"rm -rf {remote} && mkdir {remote}"], plan)
    _checked(["scp", "-q", "-r", f"{work}/in", f"{work}/run.sh", f"{host}:{remote}/"], plan)
    try:
        _checked(["ssh", host, f"bash {remote}/run.sh"], plan)
        _checked(["scp", "-q", "-r", f"{host}:{remote}/out", str(work)], plan)
    finally:
        subprocess.run(["ssh", host, f"rm -rf {remote}"], check=False)


def _checked(command: list[str], plan: Plan, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(command, env=environment, check=False)
    except OSError as error:
        raise PlanError(f"cannot start {command[0]} ({error.strerror})", where=plan.title) from None
    if done.returncode:
        raise PlanError("a command of the plan failed; its messages stand above", where=" ".join(command[:3]),
                        got=f"exit code {done.returncode}", remedy="see the whole plan with --plan")


EXECUTORS: dict[str, Callable[[Plan, Path, str], None]] = {"docker": _docker, "local": _local, "ssh": _ssh}
