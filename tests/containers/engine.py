"""A container engine for the tests: the one that runs, or Debian's dockerd, started for them and stopped afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
BASE: Final = "ferret-base:bookworm"
IMAGE: Final = "ferret:test"
KAMAILIO_IMAGE: Final = "ferret-kamailio:test"
_PATH: Final = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_PROGRAMS: Final = {"docker": "docker.io", "docker-compose": "docker-compose", "debootstrap": "debootstrap"}
_STARTING: Final = 30.0  # seconds that dockerd may take
_BUILDING: Final = 600.0
_WAITING: Final = 300.0  # seconds for another session's tests
_STARTED: Final = 60.0  # seconds until everything in containers says that it is there


class EngineMissingError(Exception):
    """No engine can be had here; the text says why."""


class Engine:
    """Runs docker and docker-compose at one engine."""

    def __init__(self, host: str) -> None:
        self.environment = {**os.environ, "PATH": _PATH, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}
        self.environment |= {"FERRET_IMAGE": IMAGE, "KAMAILIO_IMAGE": KAMAILIO_IMAGE, "FERRET_BASE": BASE}
        if host:
            self.environment["DOCKER_HOST"] = host

    def run(self, *command: str, within: float = 60.0, fails: bool = False) -> str:
        """What a command writes on its standard output. With `fails` it may; AssertionError otherwise."""
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=within, check=False
        )
        assert fails or not done.returncode, f"{' '.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def has_image(self, name: str) -> bool:
        """Whether the engine has an image."""
        return bool(self.run("docker", "images", "--quiet", name).strip())

    def build(self, file: str, tag: str, base: str, context: str = ".") -> None:
        """Build an image on another; from layers that are there already, where nothing has changed."""
        words = ("--file", file, "--tag", tag, "--build-arg", f"BASE={base}")
        self.run("docker", "build", "--quiet", "--network", "host", *words, context, within=_BUILDING)

    def make_base(self) -> None:
        """The base image, by debootstrap; once for all sessions of this machine."""
        if not self.has_image(BASE):
            self.run(str(ROOT / "deploy" / "make-base-image"), BASE, within=_BUILDING)


class Composition:
    """What compose files describe, running."""

    def __init__(self, engine: Engine, files: Sequence[str], project: str) -> None:
        self.engine = engine
        named = (word for file in files for word in ("--file", str(ROOT / "deploy" / file)))
        self._words = ("docker-compose", "--project-name", project, *named)

    def __call__(self, *words: str, within: float = 60.0, fails: bool = False) -> str:
        return self.engine.run(*self._words, *words, within=within, fails=fails)

    def json(self, *words: str, within: float = 60.0) -> Any:
        """The JSON object that a one-off container writes."""
        text = self("run", "--rm", "-T", *words, within=within, fails=True)
        assert "{" in text, text
        return json.loads(text[text.index("{") :])

    def until_said(self, wanted: dict[str, str], *, within: float = _STARTED) -> None:
        """Wait until each of these services has written its text."""
        deadline = time.monotonic() + within
        missing = dict(wanted)
        while missing:
            missing = {one: text for one, text in missing.items() if text not in self.log(one)}
            assert not missing or time.monotonic() < deadline, "\n".join(f"{one}: {self.log(one)}" for one in missing)
            if missing:
                time.sleep(0.5)

    def log(self, service: str) -> str:
        """What a service has written so far."""
        name = f"{self._words[2]}_{service}_1"
        done = subprocess.run(
            ("docker", "logs", name), env=self.engine.environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def capabilities(self, service: str) -> tuple[int, int]:
        """User and effective capabilities of the process that a service is."""
        status = self("exec", "-T", service, "cat", "/proc/1/status").splitlines()
        fields = dict(line.split(":", 1) for line in status if ":" in line)
        return int(fields["Uid"].split()[1]), int(fields["CapEff"], 16)


@contextmanager
def composition(engine: Engine, *files: str) -> Iterator[Composition]:
    """Start what compose files describe; nothing of it is left afterwards."""
    made = Composition(engine, files, f"ferrettest{os.getpid()}")
    try:
        made("up", "--detach", "--no-build")
        yield made
    finally:
        made("--profile", "hand", "down", "--volumes", "--remove-orphans", "--timeout", "1", fails=True)


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine. Raises EngineMissingError."""
    if os.geteuid():
        raise EngineMissingError("needs root")
    missing = [package for name, package in _PROGRAMS.items() if not shutil.which(name, path=_PATH)]
    if missing:
        raise EngineMissingError(f"apt-get install {' '.join(missing)}")
    running = Engine("")
    if _answers(running):
        yield running
        return
    if not shutil.which("dockerd", path=_PATH):
        raise EngineMissingError("no container engine runs, and there is no dockerd: apt-get install docker.io")
    with _dockerd() as host:
        yield Engine(host)


def _answers(one: Engine) -> bool:
    command = ("docker", "version", "--format", "{{.Server.Version}}")
    done = subprocess.run(command, env=one.environment, capture_output=True, text=True, check=False)
    return not done.returncode and bool(done.stdout.strip())


@contextmanager
def _dockerd() -> Iterator[str]:
    """Debian's dockerd; its images stay in the user's cache. It changes nothing about the machine's own networks."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ferret" / "containers"
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache), tempfile.TemporaryDirectory(prefix="ferret-dockerd-", ignore_cleanup_errors=True) as run:
        host = f"unix://{run}/docker.sock"
        command = ["dockerd", "--host", host, "--data-root", str(cache), "--exec-root", f"{run}/exec"]
        command += ["--pidfile", f"{run}/pid", "--bridge", "none", "--iptables=false", "--ip-masq=false"]
        log = Path(run) / "log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                command, env={**os.environ, "PATH": _PATH}, stdout=written, stderr=written, start_new_session=True
            )
        try:
            deadline = time.monotonic() + _STARTING
            while not _answers(Engine(host)):
                if process.poll() is not None or time.monotonic() > deadline:
                    last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["it says nothing"]
                    raise EngineMissingError(f"dockerd does not start: {last[0]}")
                time.sleep(0.2)
            yield host
        finally:
            _stop(process)
            subprocess.run(("umount", "--lazy", f"{run}/exec/netns/default"), capture_output=True, check=False)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One engine at a time has the images: another session's tests are waited for."""
    with (cache.parent / "containers.lock").open("w") as lock:
        deadline = time.monotonic() + _WAITING
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EngineMissingError(f"another session has used {cache} for {_WAITING:g} s") from None
                time.sleep(1.0)
        yield


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
