"""What `import slimtable` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import slimtable
from tests.extras import modules_of_extras

HEAVY = sorted(modules_of_extras())


def printed(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["slimtable", "slimtable.serve", "slimtable.artifact.file", "slimtable.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    assert printed(f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_opening_an_artifact_loads_nothing_heavy() -> None:
    script = f"import sys; from slimtable import open_artifact; print([n for n in {HEAVY} if n in sys.modules])"
    assert printed(script) == "[]"


def test_every_public_name_is_there() -> None:
    for name in slimtable.__all__:
        assert getattr(slimtable, name).__class__.__name__ != "module"
    assert set(slimtable.__all__) <= set(dir(slimtable))


def test_a_method_that_is_not_listed_is_public_all_the_same(monkeypatch) -> None:
    monkeypatch.delitem(slimtable._MODULE_OF_NAME, "QR")
    monkeypatch.delitem(vars(slimtable), "QR", raising=False)
    assert "QR" in dir(slimtable)
    assert slimtable.QR.method == "qr"


def test_every_method_and_its_config_are_public() -> None:
    from slimtable.embeddings.base import get_method, method_names

    for name in method_names():
        method = get_method(name)
        assert getattr(slimtable, method.__name__) is method
        assert getattr(slimtable, method.config_class.__name__) is method.config_class


def test_every_error_is_public() -> None:
    from slimtable import errors

    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.SlimtableError):
            assert getattr(slimtable, name) is error


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        slimtable.nope  # noqa: B018


def test_missing_extra_says_what_to_install() -> None:
    script = """
import sys
sys.modules["torch"] = None
import slimtable
try:
    slimtable.MGQE
except ImportError as error:
    print(error)
"""
    wanted = "slimtable.MGQE needs torch, which is not installed. Run: pip install 'slimtable[train]'"
    assert printed(script) == wanted
