"""Other services' clients as their makers published them: installed once, kept in the user's cache, and run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import pytest

#: The clients and what they need beside the packages that the tests have already. Their own old versions are found first.
PACKAGES = (
    "compreface-sdk==0.6.0",
    "requests-toolbelt==0.9.1",
    "urllib3==1.26.20",
    "deepstack-sdk==0.2.1",
    "validators==0.35.0",
    "deepstack-python==0.9",
    "codeproject-ai-api==0.1",
    "azure-cognitiveservices-vision-face==0.6.1",
    "azure-ai-vision-face==1.0.0b2",
    "azure-common==1.1.28",
    "azure-core==1.41.0",
    "msrest==0.7.1",
    "isodate==0.7.2",
    "requests-oauthlib==2.0.0",
    "oauthlib==4.0.1",
)
#: Whose source distributions carry programs that show how they are used.
SAMPLES = ("azure-ai-vision-face==1.0.0b2",)
#: The same for Node.
NODE_PACKAGES = (
    "@exadel/compreface-js-sdk@1.0.0",
    "@azure/cognitiveservices-face@5.0.0",
    "@azure/ms-rest-js@2.7.0",
    "@azure-rest/ai-vision-face@1.0.0-beta.3",
    "@aws-sdk/client-rekognition@3.1142.0",
)


def installed(packages: Sequence[str], *command: str) -> Path:
    """The folder with some packages, made once and kept in the user's cache, or a skip that says what is wrong.

    Parameters
    ----------
    packages : sequence of str
    *command : str
        What installs them into the folder that follows it.
    """
    made = hashlib.sha256("\n".join((*packages, sys.version)).encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("recognizer", appauthor=False) / "test-clients" / made
    if not folder.is_dir():
        new = folder.with_name(f"{made}.{os.getpid()}")
        new.mkdir(parents=True)
        done = subprocess.run([*command, str(new), *packages], capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(new)
            pytest.skip(f"the clients cannot be installed here: {done.stderr.strip()[-300:]}")
        if not folder.is_dir():
            new.rename(folder)
    return folder


@pytest.fixture(scope="session")
def clients() -> Path:
    """The Python clients."""
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", "--target")
    return installed(PACKAGES, *pip)


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> Path:
    """The programs of `SAMPLES`, as their makers published them."""
    pip = (
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--disable-pip-version-check",
        "-d",
    )
    (packed,) = installed(SAMPLES, *pip).glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("samples")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.glob("*/samples")
    (found / "dotenv.py").write_text("find_dotenv = load_dotenv = lambda *_: None\n")  # they look for a file .env
    return found


@pytest.fixture(scope="session")
def node_clients() -> Path:
    """The JavaScript clients."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("Node and npm are not here")
    return installed(NODE_PACKAGES, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix")


def ran(*command: str | Path, folder: Path, **environment: str) -> dict:
    """What a client said."""
    environ = {**os.environ, **environment}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=folder, env=environ, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
