"""What the tables and charts of the page mean, in plain words."""

from collections.abc import Sequence

from hrm_jax.artefacts.report_file import EVERY
from hrm_jax.judging.tables import GROUPED, measuring_of, unchecked
from hrm_jax.puzzles.kinds import KINDS
from hrm_jax.referee.protocols import CELL_PROTOCOLS
from hrm_jax.reporting.curves import MOST_POINTS
from hrm_jax.reporting.inputs import Report, Run
from hrm_jax.reporting.markup import number
from hrm_jax.reporting.names import reference
from hrm_jax.reporting.tables import SIGNIFICANT

FAILURES = (
    "Causes of failure: no path, the static map itself cuts the goal off; boxed in, a collision where every "
    "move would have collided; prediction, any other collision; horizon, a timeout though there is a path: "
    "the planner did not see far enough."
)
RESULTS = (
    "Intervals are Wilson's 95 % for the success rate, over episodes. Full discs are learned models, open "
    "ones baselines, lozenges bounds."
)
PATHS = (
    "An agent follows its path a point a step, at most {speed:.2f} cells a step. Static cells and the "
    "obstacles' discs of {collision_radius:g} cells are tested over the whole of a step, before the goal is."
)
PUBLISHED_PATHS = (
    "Point k of a path is tested at time k + 1, so that the player's agent is a point behind its path; "
    "whatever fails counts as a collision."
)
SPREAD = (
    "Two kinds of doubt, kept apart: the spread between training seeds is how much the same model, trained "
    "again, differs from itself on the same episodes; the half width is how much the rate of one trained "
    "model could differ on other episodes."
)
TUNING = (
    "Before the runs that are judged, every model was trained with each of these settings and with training "
    "seeds that are used for nothing else. The least mean held-out loss chose. What has one loss alone was "
    "behind others of its model with the first seed, and was not tried again. Nothing here has seen the "
    "scenarios or puzzles of this report."
)
LENGTHS = (
    "All models were given as many updates, the first of these numbers at which the next one takes less than "
    "{until:g} % off the best model's held-out loss per {every} updates; without one, the last. One training "
    "a model and number, with a seed that is used for nothing else."
)
GROUPS = (
    "The interval is of the difference of the means, were models trained and episodes drawn again (bootstrap "
    "of both). Over episodes: an exact sign-flip test on how many models of either group solve each episode; "
    "it holds for these trained models. Over training seeds: an exact permutation test, over all ways to "
    "deal the seeds into two such groups; it holds for models trained again, and so speaks of architectures. "
    "Its least p is 0.1 for three seeds a group, 0.0079 for five, 0.0022 for six."
)
VOTES = (
    "A task is right when all its test inputs are, each within so many tries; test inputs: their share that "
    "is right, averaged over tasks."
)
WALKS = (
    "The moves of an answer, rolled out from the start, next to walkers that nothing was trained for and "
    "that remember where they have been: one walk an example. Optimal: by a shortest path. Intervals are "
    "Wilson's 95 %."
)
PUZZLES = (
    "An answer is exact when every cell that counts is that of the label. Intervals are Wilson's 95 % over "
    "examples. Full discs are learned models, open ones baselines."
)
LENIENT = "any right answer counts, be it the label's or another."
TOKENS = "Tokens: the mean share of cells that are right; a copy of the input shows what it is worth."
EPISODES = (
    "The robot (blue) goes from S to G past moving obstacles (orange): before each step a model says where "
    "they will be (dashed), and a planner takes the shortest way around that (dotted)."
)
PATH_EPISODES = (
    "The robot (blue) goes from S to G past moving obstacles (orange), along a whole path that a planner "
    "drew; some planners draw a new one on the way."
)
ANSWERS = (
    "A model writes its whole answer anew in every segment, out of the one before; its Q-head says when it "
    "would stop. Cells that are wrong have a frame."
)
PREDICTION = (
    "Errors of predicted obstacle positions as they occurred in the closed loop. Near the plan: of obstacles "
    "that come within 2 cells of where the agent means to be at that step. A new plan is made at every step: "
    "an error one step ahead, there, makes a collision; one at twenty steps costs little."
)


def lengths(report: Report) -> str:
    """How the number of updates was found."""
    found = report.data.get("lengths")
    return LENGTHS.format(until=found["until"], every=EVERY) if found else ""


def episodes(report: Report) -> str:
    """What the player shows."""
    return PATH_EPISODES if report.path_rules else EPISODES


def results(report: Report) -> str:
    """How to read the table of results."""
    first, *more = _of_puzzles(report) if report.puzzles else _of_episodes(report)
    if baseline := reference(report.data["models"]):
        named = f'"{baseline}"' if report.puzzles else baseline
        more.insert(0, f"The dashed line is the rate of {named}.")
    return " ".join([first, *more])


def _of_episodes(report: Report) -> list[str]:
    rules = report.path_rules
    if rules:
        return [RESULTS, PUBLISHED_PATHS if rules.published else PATHS.format(**vars(rules))]
    known = any(result.get("failures") for result in report.data["models"].values())
    return [RESULTS, FAILURES] if known else [RESULTS]


def _of_puzzles(report: Report) -> list[str]:
    models, kind = list(report.data["models"].values()), KINDS.get(report.data["kind"])
    parts = [PUZZLES]
    if models[0].get("puzzles", models[0]["n"]) < models[0]["n"]:
        parts.append(GROUPED.format(**models[0]))
    if any(result.get("lenient") for result in models):
        parts.append(f"Lenient: {kind.lenient.note if kind and kind.lenient else LENIENT}")
    parts += filter(None, [unchecked(report.data)])
    if any(result.get("tokens") is not None for result in models):
        parts.append(TOKENS)
    return parts


def measures(report: Report) -> str:
    """What else the kind of puzzles measures."""
    measuring = measuring_of(report.data) if report.puzzles else None
    return measuring.note if measuring else ""


def pairs(report: Report) -> str:
    """How to read so many p-values."""
    tested = report.data.get("pairs") or []
    first = next(iter(report.data["models"].values()))
    judged = "tasks" if first.get("voting") else "puzzles" if report.puzzles else "episodes"
    explained = f"Exact McNemar test on the {judged} that only one of the two solved."
    if len(tested) == 1:
        return explained
    if all("p_holm" in pair for pair in tested):
        return (
            f"{explained} Holm's adjustment is over all {len(tested)} pairs of this report: below 0.05 "
            "(bold) the difference stands even though so many were tested."
        )
    return (
        f"{explained} These p-values are not adjusted for the {len(tested)} tests of this report: "
        f"{number(SIGNIFICANT * len(tested), 2)} of them would fall below 0.05 by chance alone, so read only "
        f"those below {number(SIGNIFICANT / len(tested), 2)} (Bonferroni) as differences."
    )


def segments(report: Report) -> str:
    """What the charts by segment show."""
    trained = report.data.get("trained_segments")
    said = (
        f"The model runs {report.data['segments']} segments whatever its Q-head says; stopped counts the "
        "examples for which it would have said stop in this segment or before."
    )
    return f"{said} It was trained with at most {trained} (dashed line)." if trained else said


def prediction(report: Report) -> str:
    """Which errors matter to the planner."""
    protocol = CELL_PROTOCOLS.get(report.data["protocol"])
    if protocol is None or not protocol.swept or protocol.planning_radius <= protocol.collision_radius:
        return PREDICTION
    margin = protocol.planning_radius - protocol.collision_radius
    return (
        f"{PREDICTION} {margin:.1g} cells is the margin between the planner's radius "
        f"({protocol.planning_radius}) and that of a collision ({protocol.collision_radius}): predictions "
        "nearer than that to the truth cannot lead the planner into a collision."
    )


def density(data: dict) -> str:
    """Which episodes the charts of densities are of."""
    first, stop = data["seeds"]
    return (
        f"Protocol {data['protocol']}, seeds {first:,} to {stop - 1:,} in every cell. "
        "Bars are Wilson 95 % intervals, moved apart sideways so that they do not hide each other."
    )


def training(runs: Sequence[Run]) -> str:
    """How training curves are drawn."""
    judged = "examples" if any(run.series("eval/exact")[1] for run in runs) else "episodes"
    return (
        f"Losses on a logarithmic axis. Dashed grey curves are baselines on the same held-out {judged}. "
        f"Curves of more than {MOST_POINTS} records show means of equal numbers of records."
    )
