"""The codec in contrib, built as anybody would, and all tests of the ciphers with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from programs import require_program

ROOT = Path(__file__).resolve().parents[2]
CODEC = ROOT / "contrib" / "codec-openssl"
HEADERS = "#include <Python.h>\n#include <openssl/evp.h>\n#if OPENSSL_VERSION_MAJOR < 3\n#error too old\n#endif\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the codec, to put on the path; nothing is installed anywhere else."""
    compiler = require_program("cc", "apt-get install gcc libc6-dev")
    check = subprocess.run(
        [compiler, "-E", f"-I{sysconfig.get_path('include')}", "-"],
        check=False,
        input=HEADERS,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if check.returncode:
        pytest.skip("the headers of Python or OpenSSL 3 are not installed: apt-get install python3-dev libssl-dev")
    folder = tmp_path_factory.mktemp("codec")
    build = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", f"--target={folder}", str(CODEC)]
    subprocess.run(build, check=True)
    return folder


def run(folder: Path, *arguments: str) -> str:
    """Run Python where the codec is installed, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, check=False, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_it_is_found_and_used_by_itself(built: Path) -> None:
    code = "from outline_lb_cipher_aead.codec import find, installed; print(installed(), type(find('auto', 'aes-256-gcm')).__name__)"
    assert run(built, "-c", code) == "['python', 'openssl'] OpenSslCodec\n"
    assert run(built, "-c", code.replace("auto", "python")) == "['python', 'openssl'] PythonCodec\n"


def test_it_passes_every_test_of_the_ciphers(built: Path) -> None:
    summary = run(built, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "openssl", "plugins/cipher-aead/tests").splitlines()[-1]
    found = re.match(r"(\d+) passed", summary)
    assert found, summary
    assert int(found[1]) > 150
