"""Which artifacts of further jobs a report shows."""

from mmer_core.config import RuntimeConfig
from mmer_core.reporting.sections.data import Data
from mmer_core.stages import Context
from mmer_core.stages.lineage import ModelArtifacts
from mmer_core.stages.report import section_results
from mmer_core.store import ArtifactKey, run_stage


def test_the_newest_of_the_dataset_and_of_each_of_its_models(tmp_path, monkeypatch):
    context = Context(RuntimeConfig(store=str(tmp_path / "store"), work=tmp_path / "work"))

    def key(kind, digit):
        return ArtifactKey(kind, digit * 32)

    def made(kind, number, **inputs):
        summary = {"number": number}
        return run_stage(
            context.store, kind, 1, summary, inputs, lambda _: summary, work=context.runtime.work
        ).key

    prepared, one, other = key("prepared", "1"), key("model", "2"), key("model", "3")
    models = [
        ModelArtifacts(prepared, key("features", "4"), model, key("evaluation", "5"))
        for model in (one, other)
    ]
    made("brightness", 1, prepared=prepared)
    wanted = {made("brightness", 2, prepared=prepared), made("brightness", 3, prepared=prepared, model=one)}
    wanted |= {made("brightness", 4, model=other)}
    made("brightness", 5, prepared=key("prepared", "6"))  # another dataset
    made("brightness", 6, prepared=key("prepared", "6"), model=one)  # this model on another dataset
    made("brightness", 7, prepared=prepared, model=key("model", "7"))  # another model
    made("darkness", 8, prepared=prepared)  # which no section shows
    assert section_results(context, models) == []
    monkeypatch.setattr(Data, "results", ("brightness",))
    assert set(section_results(context, models)) == wanted
