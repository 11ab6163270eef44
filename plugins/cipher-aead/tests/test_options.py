from __future__ import annotations

import jsonschema
import pytest

from outline_lb_cipher_aead.options import SCHEMA, Options


def test_defaults_are_valid() -> None:
    raw = {name: schema["default"] for name, schema in SCHEMA["properties"].items()}
    jsonschema.validate(raw, SCHEMA)
    assert Options.parse(raw) == Options(replay_history=10_000, codec="auto")


@pytest.mark.parametrize("raw", [{"replay_history": -1}, {"replay_history": "10"}, {"replay_history": 1_000_001}, {"unknown": 1}, {"codec": 1}])
def test_schema_refuses(raw: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, SCHEMA)


def test_a_codec_that_is_not_installed_is_refused() -> None:
    assert Options.parse({"replay_history": 0, "codec": "python"}).codec == "python"
    with pytest.raises(ValueError, match=r"^there is no codec nonesuch: write auto or one of python.*, or install it$"):
        Options.parse({"replay_history": 0, "codec": "nonesuch"})
