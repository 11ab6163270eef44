"""``outline-lb check`` from outside: what it says, and what no text can do to it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

GOOD = """\
version: 1
frontends: {local: {type: socks5, listen: "127.0.0.1:1080"}}
pools: {main: {policy: {type: fastest, sticky_ttl: 30s}, probes: [handshake]}}
upstreams:
  one: {tcp: "wss://one.example/", secret: {file: one.secret}}
"""
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{l: *a{i - 1}, r: *a{i - 1}}}\n" for i in range(1, 40))

TYPOS = "version: 1\nfrontends: {a: {type: socks5}}\nupstreams: {" + ", ".join(f"a{i}: {{wieght: 2}}" for i in range(2_000)) + "}"


MEASURE = """
import resource, sys
from pathlib import Path
from outline_lb.cli import main
code = main(sys.argv[2:])
usage = resource.getrusage(resource.RUSAGE_SELF)
status = Path("/proc/self/status")  # ru_maxrss counts the process that this one was forked from
peak = int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024 if status.exists() else usage.ru_maxrss
Path(sys.argv[1]).write_text(f"{usage.ru_utime + usage.ru_stime} {peak / 1e6}")
sys.exit(code)
"""


@dataclass(frozen=True)
class Ended:
    """How a check ended, after so many seconds of CPU time, with so many MB of memory at most."""

    code: int
    output: str
    error: str
    seconds: float
    memory: float


def check(folder: Path, *arguments: str, **variables: str) -> Ended:
    """Run a check to its end."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "nothing"), **variables}
    command = [sys.executable, "-c", MEASURE, "measured", "check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=30, check=False)
    seconds, memory = map(float, (folder / "measured").read_text().split())
    return Ended(done.returncode, done.stdout, done.stderr, seconds, memory)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a good configuration and its secret."""
    for name, text in (("good.yaml", GOOD), ("one.secret", "hunter2\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def test_a_good_one(folder: Path) -> None:
    ended = check(folder, "good.yaml")
    assert (ended.code, ended.output, ended.error) == (0, "good.yaml: ok\n", "")


def test_the_one_that_run_would_take(folder: Path) -> None:
    (folder / "good.yaml").rename(folder / "outline-lb.yaml")
    assert check(folder).output == "outline-lb.yaml: ok\n"


def test_none_at_all(folder: Path) -> None:
    ended = check(folder)
    assert (ended.code, ended.output) == (2, "")
    assert ended.error.startswith("outline-lb: no configuration: name one with -c FILE, or write one of outline-lb.yaml, ")


def test_several_each_with_all_its_problems(folder: Path) -> None:
    (folder / "bad.yaml").write_text(GOOD.replace("sticky_ttl: 30s", "sticky: 30s").replace("listen:", "listne:"))
    ended = check(folder, "bad.yaml", "missing.yaml", "good.yaml")
    assert (ended.code, ended.output) == (2, "good.yaml: ok\n")
    assert ended.error.splitlines() == [
        "outline-lb: bad.yaml:2:35: /frontends/local/listne: unknown key listne; did you mean listen?",
        "outline-lb: bad.yaml:3:40: /pools/main/policy/sticky: unknown key sticky; did you mean sticky_ttl?",
        "outline-lb: missing.yaml: cannot be read: No such file or directory",
    ]


def test_plugins_and_values_of_the_command_line(folder: Path) -> None:
    ended = check(folder, "good.yaml", "--plugins", "ws-h9", "--set", "log.level=debug")
    assert (ended.code, ended.output) == (2, "")
    assert ended.error.startswith("outline-lb: plugin ws-h9 is not installed: pip install ")
    ended = check(folder, "good.yaml", "--set", "pools.main.policy.sticky_ttl=soon")
    assert ended.code == 2
    assert ended.error == "outline-lb: --set pools.main.policy.sticky_ttl: /pools/main/policy/sticky_ttl: expected a duration such as 20ms\n"


def test_what_only_the_transport_knows_is_known_before_the_start(folder: Path) -> None:
    (folder / "good.yaml").write_text(GOOD.replace(", secret: {file: one.secret}", ""))
    ended = check(folder, "good.yaml")
    assert (ended.code, ended.output) == (2, "")
    message = "secret is missing: the transport ws-h1 needs one that it shares with the server"
    assert ended.error == f"outline-lb: good.yaml:5:3: /upstreams/one: {message}\n"


def test_nothing_is_started(folder: Path) -> None:
    """The address is one that nobody can listen on."""
    assert check(folder, "good.yaml", "--set", "frontends.local.listen=203.0.113.7:1").code == 2
    assert check(folder, "good.yaml", "--set", "frontends.local={type: socks5, listen: '203.0.113.7:1', allow_open: true}").code == 0


@pytest.mark.skipif(os.name == "nt", reason="files have other modes there")
def test_files_with_secrets_that_others_can_read_are_warned_of(folder: Path) -> None:
    for name in ("good.yaml", "one.secret"):
        (folder / name).chmod(0o644)
    ended = check(folder, "good.yaml")
    assert (ended.code, ended.output) == (0, "good.yaml: ok\n")
    place = "/upstreams/one/secret/file"
    assert ended.error == f"outline-lb: warning: good.yaml:5:45: {place}: other users can read this secret: chmod 600 one.secret\n"
    (folder / "good.yaml").write_text(GOOD.replace("{file: one.secret}", "hunter2").replace("example/", "example/path"))
    ended = check(folder, "good.yaml")
    place = "/upstreams/one/tcp"
    warning = "a secret stands here, and other users can read this file: chmod 600 good.yaml"
    assert ended.error == f"outline-lb: warning: good.yaml:5:9: {place}: {warning}\n"
    assert ended.code == 0
    in_environment = {"OUTLINE_LB__UPSTREAMS__ONE__TCP": "wss://one.example/path", "OUTLINE_LB__UPSTREAMS__ONE__SECRET": "hunter2"}
    assert check(folder, "good.yaml", **in_environment).error == ""


@pytest.mark.parametrize(
    ("raw", "place", "words"),
    [
        (BOMB, "5:", "more than 20000 nodes, aliases expanded"),
        (MERGE_BOMB, "12:", "more than 20000 nodes, aliases expanded"),
        ("a: " + "[" * 100_000, "1:", "more than 64 levels"),
        ("a: " + "{b: " * 100_000, "1:", "more than 64 levels"),
        ("- " * 100_000, "1:", "more than 64 levels"),
        ("a: [" + "x, " * 100_000 + "]", "1:", "more than 20000 nodes"),
        ("a: 1\nb: 2\na: 3\n", "3:1", "a stands here for the second time; the first is in line 1"),
        ("a:\n\tb: 1\n", "2:1", "a tab: YAML is indented with spaces"),
        (b"a: 1\nb: \0\n", "2:4", "a NUL byte"),
        (b"a: 1\nb: \xff\n", "2:4", "this is not UTF-8 text"),
        ("a: " + "x" * 50_000_000, "", "more than 512 KiB"),
        ("a: !!python/object/apply:os.system [echo hunter2]\n", "1:", "tags (!...) are not allowed"),
        ("%YAML 1.1\n---\na: 1\n", "1:", "directives (%...) are not allowed"),
        ("a: " + "9" * 400_000, "", "version is missing"),
        ('a: "' + "\\x41" * 100_000 + '"', "", "version is missing"),
        ("a: " + "x y " * 120_000, "", "version is missing"),
        ("a: |\n" + "  x\n" * 120_000, "", "version is missing"),
        ("#\n" * 200_000 + "a: 1", "", "version is missing"),
        ("x" * 500_000 + ": 1", "1:", "a colon that does not belong here"),
        ("".join(f"x{i}: 1\n" for i in range(9_000)), "", "and 8903 more"),
        ("".join(f"x-{i}: &a{i} {{b: 1}}\n" for i in range(6_000)), "5000:", "more than 20000 nodes"),
        ("version: 1\nupstreams: {" + "a: {}, " * 20_000 + "}", "2:", "a stands here for the second time"),
        (
            "version: 1\nfrontends: {a: {type: socks5}}\nupstreams: {" + ", ".join(f"a{i}: {{wieght: 2}}" for i in range(2_000)) + "}",
            "",
            "and 1900 more",
        ),
    ],
    ids=lambda value: value[:24].strip() if isinstance(value, str) else None,
)
def test_whatever_the_file_holds_the_answer_is_quick_small_and_has_a_place(folder: Path, raw: str | bytes, place: str, words: str) -> None:
    (folder / "odd.yaml").write_bytes(raw.encode() if isinstance(raw, str) else raw)
    ended = check(folder, "odd.yaml")
    assert ended.code == 2
    assert any(line.startswith(f"outline-lb: odd.yaml:{place}") and words in line for line in ended.error.splitlines()), ended.error[:500]
    assert "hunter2" not in ended.error + ended.output
    assert "Traceback" not in ended.error
    assert ended.memory < 200
    again = (check(folder, "odd.yaml").seconds for _ in range(2))  # others may be busy, too
    assert ended.seconds < 2 or min(again) < 2
