"""The job `defences`, `mmer robustness --defence`: what helps against pixel attacks, and what does it cost?"""

from dataclasses import replace
from functools import partial

from flows.jobs import Trained, prepare, robustness, train
from flows.output import say
from flows.terminal import say_table
from mmer_core import stages
from mmer_core.config import ADVERSARIAL, DefencesJob, ReportConfig, RobustnessJob, TrainJob, is_ablation
from mmer_core.datasets.prepared import Prepared
from mmer_core.reporting.sections.defences import DefencesSummary, defences_tables, helped_most
from mmer_core.stages import Context, ModelArtifacts
from mmer_core.stages.certified import certify, check_can_be_certified
from mmer_core.stages.defences import Defence, attacked_features, compare_defences
from mmer_core.store import ArtifactKey
from mmer_core.task_kinds import kind_of
from tasks.decorators import flow
from tasks.running import call_flow
from tasks.stages import make


@flow(name="defences")
def defences(job: DefencesJob) -> str:
    """Train, evaluate and attack a model without defence and with each, or certify it; the key of the comparison."""
    for name in filter(is_ablation, job.defence):
        encoders = _behind(name, job).encoders
        prepare(job, partial(check_can_be_certified, attack=job.attack, encoders=encoders))
    plain = _measured(job, "no defence")
    each = [_defended(job, name, plain) for name in job.defence]
    return str(make(compare_defences, job.runtime, ReportConfig(), plain.prepared, plain, each))


def _defended(job: DefencesJob, defence: str, plain: ModelArtifacts) -> Defence:
    job = job.model_copy(update={"prepared": str(plain.prepared)})
    if defence == ADVERSARIAL:
        return Defence(defence, _attacked(job, _trained_on_attacks(job, plain), defence))
    if is_ablation(defence):
        trained = _trained(_behind(defence, job), defence)
        return Defence(defence, trained, _certified(job, trained))
    return Defence(defence, _measured(_behind(defence, job), defence))


def _behind(defence: str, job: DefencesJob) -> DefencesJob:
    """The same with what stands before the image encoder."""
    encoders = job.encoders.model_copy(update={"image": f"{defence}:{job.encoders.image}"})
    return job.model_copy(update={"encoders": encoders})


def _measured(job: DefencesJob, defence: str) -> ModelArtifacts:
    return _attacked(job, _trained(job, defence), defence)


def _trained(job: DefencesJob, defence: str) -> ModelArtifacts:
    own = {name: getattr(job, name) for name in TrainJob.model_fields}
    return call_flow(train, TrainJob(**own), f"train, {defence}").artifacts()


def _certified(job: DefencesJob, trained: ModelArtifacts) -> ArtifactKey:
    made_of = trained.prepared, trained.features, trained.model
    gallery = None
    if kind_of(Prepared.open(Context(job.runtime).parts(trained.prepared)).card.task).ranks:
        gallery = make(stages.embed_gallery, job.runtime, job.attack, *made_of)
    return make(certify, job.runtime, job.attack, job.ablation, *made_of, gallery)


def _attacked(job: DefencesJob, trained: ModelArtifacts, defence: str) -> ModelArtifacts:
    photos = {"dataset": job.dataset} if job.attack.stream == "photo" else {}
    wanted = RobustnessJob(trained=str(trained.model), runtime=job.runtime, attack=job.attack, **photos)
    found = call_flow(robustness, wanted, f"attack, {defence}")
    return replace(trained, robustness=ArtifactKey.parse(found))


def _trained_on_attacks(job: DefencesJob, plain: ModelArtifacts) -> ModelArtifacts:
    """A model that learned from attacked copies of training images as well, made against the model without defence."""
    attack = job.attack.model_copy(
        update={
            "split": "train",
            "pixels": (max(job.attack.pixels),),
            "images": job.adversarial.images,
            "budget": job.adversarial.budget,
            "seeds": 1,
        }
    )
    wanted = RobustnessJob(trained=str(plain.model), runtime=job.runtime, attack=attack)
    outcomes = ArtifactKey.parse(call_flow(robustness, wanted, "attack train"))
    attacked = make(attacked_features, job.runtime, attack, plain.prepared, plain.model, outcomes)
    model = make(
        stages.train,
        job.runtime,
        job.model,
        job.training,
        job.encoders,
        plain.prepared,
        plain.features,
        attacked=attacked,
    )
    evaluation = make(stages.evaluate, job.runtime, job.evaluation, plain.prepared, plain.features, model)
    return Trained(*map(str, (plain.prepared, plain.features, model, evaluation))).artifacts()


def print_defences(context: Context, key: str) -> None:
    """A row for each defence and figure."""
    found = context.artifact(ArtifactKey.parse(key)).manifest.summary_as(DefencesSummary)
    for table in defences_tables(found):
        say(table.caption)
        say_table(table.columns, table.texts())
    if helped := helped_most(found):
        say(helped.sentence)
    say(key)
