"""Licences of weights, as they are stated where the weights lie."""

import json
from pathlib import Path

import pytest
from support.hf_folders import build

from mmer_core.encoders.licences import NOT_STATED, folder_licence, package_licence, weights_licence


def test_packaged_weights_state_theirs() -> None:
    for name in ("efficientnet_lite0", "efficientnet_lite2"):
        assert weights_licence(f"packaged:{name}") == "Apache Software License 2.0"
    # The package's own MIT licence covers its code; the model's card inside it speaks of the weights.
    assert weights_licence("packaged:all-MiniLM-L6-v2") == "apache-2.0"


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: mit\ntags:\n- x\n---\n# A model\n", "mit"),
        ('---\nlanguage: en\nlicense: "cc-by-nc-4.0"  # not for sale\n---\n', "cc-by-nc-4.0"),
        ("---\nlanguage: en\n---\nlicense: mit\n", NOT_STATED),
        ("license: mit\n", NOT_STATED),
        ("---\nlicense:\n- mit\n---\n", NOT_STATED),
        ("", NOT_STATED),
    ],
)
def test_a_folder_states_it_in_its_front_matter(readme: str, licence: str, tmp_path: Path) -> None:
    folder = build("vit", tmp_path / "vit")
    (folder / "README.md").write_text(readme)
    assert weights_licence(f"hf:{folder}") == licence


def test_a_folder_may_state_it_in_its_configuration(tmp_path: Path) -> None:
    folder = build("vit", tmp_path / "vit")
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"license": "openrail"}))
    assert folder_licence(folder) == "openrail"


def test_what_is_not_there_states_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert package_licence("no-such-package") == NOT_STATED
    for name in (
        "hf:nobody/nothing",
        "hf:not a name",
        "packaged:unknown",
        "torchvision:resnet18@weights.pth",
    ):
        assert weights_licence(name) == NOT_STATED


def test_metadata_comes_before_files() -> None:
    assert package_licence("scikit-learn") == "BSD-3-Clause"
