"""``mmer finetune``, and its result as an encoder by name in what comes after."""

from support.hf_folders import build

from mmer_core.config import EncoderConfig
from mmer_core.store import open_store

FLICKR = ["flickr8k", "--synthetic.images", 40, "--context-size", 32]


def test_an_adapted_encoder_is_used_by_name(mmer, tmp_path):
    clip = f"hf:{build('clip', tmp_path / 'clip')}"
    encoders = ["--encoders.image", clip, "--encoders.text", clip]
    command = ["finetune", *FLICKR, *encoders, "--finetune.epochs", 2, "--finetune.learning-rate", 0.005]
    code, out, err = mmer(*command)
    assert code == 0, err
    name = out.strip().splitlines()[-1]
    assert name.startswith("adapted:adapter/")
    assert "kept" in out
    code, again, _ = mmer(*command)
    assert again == out
    store = open_store(str(tmp_path / "store"), cache=tmp_path / "cache")
    assert len(list(store.list("adapter"))) == 1

    for encoder in (clip, name):
        code, _, err = mmer("evaluate", *FLICKR, "--zero-shot", encoder, "--evaluation.resamples", 20)
        assert code == 0, err
    small = ["--training.epochs", 1, "--evaluation.resamples", 20]
    code, out, err = mmer("train", *FLICKR, "--encoders.image", name, "--encoders.text", name, *small)
    assert code == 0, err
    decided = [one.config["encoders"]["image"] for one in store.list("features")]
    assert sorted(one["name"] for one in decided) == ["adapted", "adapted", "hf"]
    assert all(one.get("sha256") for one in decided if one["name"] == "adapted")
    # What was trained on it finds it again.
    code, _, err = mmer("index", *FLICKR, "--encoders.image", name, "--encoders.text", name, *small)
    assert code == 0, err
    code, out, err = mmer("search", "two dogs", "--k", 2)
    assert code == 0, err
    assert len(out.strip().splitlines()) == 4

    code, _, err = mmer("train", *FLICKR, "--encoders.image", "adapted:nowhere", "--encoders.text", name)
    assert code == 1
    assert "is not an artifact key" in err


def test_the_native_side_is_the_default_for_all_but_packaged_networks():
    # A form that sends an empty field means the same as one that sends none.
    assert EncoderConfig().image_size == EncoderConfig(image_size=None).image_size == 224
    assert EncoderConfig(image="hf:x/y").image_size is None
    assert EncoderConfig(image="hf:x/y", image_size=64).image_size == 64
    assert (
        EncoderConfig.model_validate_json(EncoderConfig(image="hf:x/y").model_dump_json()).image_size is None
    )
