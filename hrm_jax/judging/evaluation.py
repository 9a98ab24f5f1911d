"""Entrants play scenarios under a protocol: the episodes, and the report of them."""

from collections.abc import Mapping

from hrm_jax.artefacts import files, provenance, report_file
from hrm_jax.artefacts.errors import RequestError, known
from hrm_jax.artefacts.scenarios import Scenarios
from hrm_jax.console.progress import watch
from hrm_jax.judging import entrants, groups, recording, request, statistics, tables
from hrm_jax.judging.entrants import Entrant
from hrm_jax.judging.request import Request
from hrm_jax.referee.cells.episode import Result
from hrm_jax.referee.paths.planners import ALWAYS
from hrm_jax.referee.protocols import PROTOCOLS, PathProtocol, Protocol
from hrm_jax.worlds.rules import COLLISION, SUCCESS, TIMEOUT


def evaluate(asked: Request) -> str:
    """Judge as asked and write the report; its table.

    Everything that can be wrong with the request, a `RequestError`, is found before the first episode.
    """
    if asked.record < 0:
        raise RequestError(f"--record {asked.record}: 0 or more")
    protocol = PROTOCOLS[known("protocol", asked.protocol, PROTOCOLS)]
    paths = request.model_files(asked.models)
    always = ALWAYS if isinstance(protocol, PathProtocol) else ()
    everyone = paths | {name: None for name in always if name not in paths}
    scenarios = request.scenarios(asked, protocol)
    compared = entrants.enter(everyone, asked.predictor, asked.backend, scenarios.world, protocol)
    files.check_writable(asked.out)
    results = play_all(compared, scenarios, protocol, asked.backend)
    report = build_report(scenarios, protocol, results, compared)
    if asked.record:
        shown = recording.one_a_group({name: compared[name] for name in paths})
        path = asked.out.with_suffix(".traces.npz")
        chosen = recording.choose({name: results[name].outcomes for name in shown}, asked.record)
        recording.record(path, scenarios, protocol, shown, chosen)
        report["traces"] = path.name
    report_file.write(asked.out, report)
    table = tables.evaluation(report, protocol.limit(scenarios.world.size))
    return f"{table}\n\nWrote {asked.out}."


def play_all(
    compared: Mapping[str, Entrant], scenarios: Scenarios, protocol: Protocol, backend: str
) -> dict[str, Result]:
    """Every entrant's episodes; progress and seconds on stderr."""
    play, results = entrants.referee(backend, protocol), {}
    for name, entrant in compared.items():
        with watch(name, "episodes", len(scenarios)) as progress:
            try:
                results[name] = play(entrant, scenarios, protocol, progress)
            except RequestError as error:
                raise RequestError(f'model "{name}": {error}') from None
    return results


def build_report(
    scenarios: Scenarios,
    protocol: Protocol,
    results: Mapping[str, Result],
    compared: Mapping[str, Entrant],
) -> report_file.Report:
    """The contents of report.json."""
    solved = {name: groups.solved(result.outcomes) for name, result in results.items()}
    report: report_file.Report = {
        "protocol": protocol.name,
        "world": scenarios.world.name,
        "seeds": [int(scenarios.ids[0]), int(scenarios.ids[-1]) + 1],
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "models": {name: compared[name].about | summary(result) for name, result in results.items()},
        "pairs": statistics.pairs(solved),
        **groups.compare(solved, {name: entrant.about.get("group") for name, entrant in compared.items()}),
    }
    return report


def summary(result: Result) -> report_file.Result:
    """One entrant's part of the report, except for what it says about itself."""
    outcomes, errors = result.outcomes, result.errors.summary()
    return {
        **statistics.trials(outcomes.count(SUCCESS), len(outcomes)),
        "collisions": outcomes.count(COLLISION),
        "timeouts": outcomes.count(TIMEOUT),
        **({"failures": result.failures} if result.failures else {}),
        **({"prediction": errors} if errors else {}),
        "outcomes": outcomes,
    }
