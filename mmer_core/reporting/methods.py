"""How a report's figures came about: threat model, success, denominators, intervals, tests, with their sources."""

from collections.abc import Sequence

from mmer_core.attacks import ATTACKS
from mmer_core.attacks.controls import CONTROL_ATTACKS
from mmer_core.reporting.labels import WHITE_BOX, attack_name
from mmer_core.reporting.table import Table, plain
from mmer_core.reporting.view import DatasetView

DENOMINATORS = plain(
    "Three shares of attacked images",
    ("Share", "of which images", "counts an image that"),
    (
        (
            "robust accuracy",
            "all",
            "is right, and that no attack fools (Croce and Hein 2020, arXiv:2003.01690)",
        ),
        ("fooled of those both had right", "those on which both models are right", "an attack fools"),
        ("fooled (success)", "those that do not meet the criterion as they are", "an attack fools"),
    ),
)

METRICS = plain(
    "Metrics",
    ("Metric", "definition", "source"),
    (
        ("average precision", "area under the steps of precision over recall; mAP is its mean over the categories that "
         "some sample shows", "scikit-learn, average_precision_score"),
        ("accuracy, macro-F1", "one label predicted a sample, the most probable; macro-F1 is the mean F1 of the labels",
         "scikit-learn, f1_score"),
        ("recall at k", "image to text: an own caption among the first k of all; text to image: the own image; mean recall "
         "is the mean of both at 1, 5 and 10", "Hodosh et al. 2013, doi:10.1613/jair.3994"),
        ("calibration", "expected calibration error in bins; Brier score",
         "Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; Brier 1950"),
    ),
)  # fmt: skip

WORST_CASE = plain(
    "The worst case over attacks",
    ("Figure", "the version of an image that counts, of the clean one and those that attacks left"),
    (
        ("robust accuracy, robust recall", "the one with the fewest hits: exact over these versions, as no other image has a part "
         "in it; for text to image, all other images are clean"),
        ("robust mAP, robust macro-F1", "depend on all images together: beginning with the clean ones, one image after another is "
         "replaced by the version with which the figure is lowest, until no single replacement lowers it"),
        ("all", "an upper bound of what is left in the worst case: stronger attacks may exist, attacks strive for their own "
         "criterion, and other combinations of versions may give a lower mAP or macro-F1"),
    ),
)  # fmt: skip

STATISTICS = plain(
    "Intervals of 95 %, tests and corrections",
    ("What", "how", "source"),
    (
        ("what is drawn", "photos with all of their samples and texts, or the groups of a manifest", ""),
        ("interval of a share", "Wilson's, for as many independent samples as those in clusters are worth",
         "Wilson 1927, doi:10.1080/01621459.1927.10502953; Dean and Pagano 2015"),
        ("interval of a metric", "random halves of the photos: standard error and bias, Student's quantile; by luck, the "
         "average precision of few samples comes out too high, which the interval corrects, so a figure may lie above its own",
         "Shao and Wu 1989, doi:10.1214/aos/1176347263"),
        ("two models, shares", "exact McNemar test on the same images; Tango's score interval of the difference",
         "McNemar 1947, doi:10.1007/BF02295996; Tango 1998"),
        ("two models, metrics", "the difference in the same random halves, by Student's t", "Shao and Wu 1989"),
        ("several trainings", "trainings and photos both vary, crossed: the variance of the trainings' figures over their number, "
         "plus the covariance by common photos; Student's quantile", "Obuchowski and Rockette 1995; Hillis 2014, doi:10.1002/sim.5926"),
        ("no more than the margin apart", "two one-sided tests at 5 %", "Schuirmann 1987, doi:10.1007/BF01068419"),
        ("questions asked together", "Holm's correction: all categories, recalls, values of K, attacks beside the control",
         "Holm 1979"),
        ("how many would decide", "samples with which four of five such studies would decide, if the figures stayed as they "
         "are", ""),
    ),
)  # fmt: skip


def attacks_table(datasets: Sequence[DatasetView]) -> Table:
    """The attacks that ran, and what each knows."""
    ran = {point.attack for dataset in datasets for family in dataset.families for point in family.curves}
    return plain(
        "Attacks",
        ("Attack", "knows", "how it searches"),
        [(attack_name(one), _known(one), ATTACKS[one].summary) for one in sorted(ran & ATTACKS.keys())],
    )


def _known(attack: str) -> str:
    if attack in CONTROL_ATTACKS:
        return "nothing"
    return "weights: gradients and scores" if attack in WHITE_BOX else "scores"


def success_table(datasets: Sequence[DatasetView]) -> Table:
    """What counts as right and as fooled on every dataset."""
    return plain(
        "What counts",
        ("Dataset", "a model is right when", "an image counts as fooled when"),
        [
            (dataset.name, dataset.text.right, dataset.fooled_when)
            for dataset in datasets
            if any(family.curves for family in dataset.families)
        ],
    )
