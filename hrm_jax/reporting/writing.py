"""The page, its figures and animations, written to a folder."""

import functools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hrm_jax.artefacts import files
from hrm_jax.artefacts.errors import RequestError, nearest
from hrm_jax.judging import tables
from hrm_jax.judging.reports import load_density
from hrm_jax.reporting import animations, figures, inputs, page
from hrm_jax.reporting.inputs import Report

EXTRA = "resvg-py, font-roboto and Pillow (pip install 'hrm_jax[plots]')"


@dataclass(frozen=True)
class Request:
    """A page, in the words of the command line."""

    out: Path  # a folder
    reports: Sequence[str | Path] = ()
    workdirs: Sequence[str | Path] = ()
    density: str | Path | None = None
    gifs: Sequence[str] = ()  # ids of recorded episodes, or "all"
    gif_models: str | None = None  # "A,B", those that an animation shows


def write(asked: Request) -> None:
    """Write what is asked for; what can be wrong with it is found before the first file is written."""
    if not (asked.reports or asked.workdirs or asked.density):
        raise RequestError("nothing to report on; give --report, --workdir or --density")
    reports = inputs.load_reports(asked.reports)
    runs = inputs.load_runs(asked.workdirs)
    density = load_density(asked.density) if asked.density else None
    animations = _animations(asked, reports)
    if asked.out.exists() and not asked.out.is_dir():
        raise RequestError(f"--out {asked.out}: is a file; a folder is needed, new or existing")
    drawn = figures.wanted(reports, runs, density)
    for name in ("index.html", *drawn, *animations):
        files.check_writable(asked.out / name, [*asked.reports, asked.density])
    _save(asked.out / "index.html", page.build(reports, runs, density))
    if len(reports) > 1 and (tested := tables.group_tests([report.data for report in reports])):
        print(tested)
    if not figures.available():
        print(f"Not drawn, for want of {EXTRA}: {', '.join(drawn)}.")
        return
    for name, draw in drawn.items():
        figures.write_png(asked.out / name, draw())
        _say_written(asked.out / name)
    for name, animate in animations.items():
        animate(asked.out / name)
        _say_written(asked.out / name)


def _save(path: Path, text: str) -> None:
    with files.atomic_write(path, "wb") as file:
        file.write(text.encode("utf-8"))
    _say_written(path)


def _say_written(path: Path) -> None:
    size = os.path.getsize(path)
    print(f"Wrote {path} ({size / 1e6:.1f} MB)." if size > 1e5 else f"Wrote {path} ({size / 1e3:.0f} kB).")


def _animations(asked: Request, reports: Sequence[Report]) -> dict[str, Callable[[Path], None]]:
    """File name -> what writes that animation."""
    if not asked.gifs:
        if asked.gif_models:
            raise RequestError("--gif-models needs --gif EPISODE")
        return {}
    if not figures.available():
        raise RequestError(f"--gif needs {EXTRA}")
    recorded = [report for report in reports if report.traces and not report.puzzles]
    if not recorded:
        raise RequestError("--gif: none of the reports names recorded episodes (traces)")
    ids = [episode.id for report in recorded for episode in report.traces.episodes]
    chosen = ids if "all" in asked.gifs else [_episode_id(text, ids) for text in asked.gifs]
    return {
        f"episode-{episode.id}{f'-{index}' if len(recorded) > 1 else ''}.gif": functools.partial(
            animations.write_gif,
            episode=episode,
            models=_pair(asked.gif_models, report.traces.models),
            rule=report.collision_rule,
        )
        for index, report in enumerate(recorded, 1)
        for episode in report.traces.episodes
        if episode.id in chosen
    }


def _episode_id(text: str, ids: Sequence[int]) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) not in ids:
        known = ", ".join(map(str, dict.fromkeys(ids)))
        raise RequestError(f"--gif {text}: no such recorded episode; allowed: all, {known}")
    return int(text)


def _pair(names: str | None, models: Sequence[str]) -> list[str]:
    """The models of an animation, one or two."""
    chosen = names.split(",") if names else list(models[:2])
    for name in chosen:
        if name not in models:
            allowed = ", ".join(models)
            raise RequestError(
                f'--gif-models: "{name}" was not recorded{nearest(name, models)}; allowed: {allowed}'
            )
    if len(chosen) > 2:
        raise RequestError(f"--gif-models {names}: {len(chosen)} models; one or two fit side by side")
    return chosen
