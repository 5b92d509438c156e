"""Do the finders find what is there, and nothing where nothing is?

    python benchmarks/discovery.py --seeds development --jobs 2                      # minutes
    python benchmarks/discovery.py --seeds report --jobs 2 --json report.jsonl       # an hour or more; may be resumed
    python benchmarks/discovery.py --parts planted --families rare --methods "Spotlight,FailureTree by label"

Parts: "planted" (`planted.py`: four families, with power: how many of the slices found does `verify` confirm?), "null"
(worlds without failure: how often does `verify` confirm anything?) and "scenes" (`spotcheck.py`: classifiers trained
here, kept under --cache). Every finder is fitted on one part of the data and judged on another, with one thread, and
counts with its first 5 slices (10 on scenes, which have ten classes).

With --json every result is written when it is there; run again, the same command goes on where it was stopped. Lines
that other code wrote are left alone and not read. Ends with the tables of `discovery_report.py`; exits 1 when a bar
is missed. It never fails on time.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import planted
import spotcheck
from discovery_report import report
from joblib import Parallel, delayed, parallel_config
from machine import name as machine_name
from scoring import IDENTIFIED, by_oracle, by_rank, discovery_rates, score_table
from threadpoolctl import threadpool_limits

import failviz.discovery as found_in
from failviz import verify
from failviz._progress import progress, without_bars
from failviz.discovery.base import SliceFinder

PARTS = ("planted", "null", "scenes")
N_SLICES, N_SLICES_SCENES = 5, 10
Q = 0.1
NULL_SEEDS = {"development": range(50), "report": range(4000, 4100)}
PLANTED_SEEDS = {"development": planted.DEVELOPMENT_SEEDS, "report": planted.REPORT_SEEDS}
SCENE_SEEDS = {"development": spotcheck.DEVELOPMENT_SEEDS, "report": spotcheck.REPORT_SEEDS}

Task = tuple[str, str, int, str]
"""Part; family or space; seed; method."""


def finders(n_slices: int, seed: int, space: str | None = None) -> dict[str, SliceFinder]:
    """Every method at its default settings, but for how many slices it returns.

    `FailureFinder` stands twice: as it is, stopped at q, and at q = 1, returning as many slices as the others.
    """
    quiet: dict[str, Any] = {"space": space, "random_state": seed, "progress": False}
    every: dict[str, SliceFinder] = {
        "FailureDirections": found_in.FailureDirections(**quiet),
        "FailureDirections lda": found_in.FailureDirections(estimator="lda", **quiet),
        "FailureDirections lda x2": found_in.FailureDirections(estimator="lda", n_directions=2, **quiet),
        "Spotlight": found_in.Spotlight(n_slices=n_slices, **quiet),
        "FailureTree by label": found_in.FailureTree(group_by="label", **quiet),
        "FailureTree by prediction": found_in.FailureTree(group_by="prediction", **quiet),
        "ErrorMixture": found_in.ErrorMixture(n_slices=n_slices, **quiet),
        "SliceLine": found_in.SliceLine(n_slices=n_slices, space=space, progress=False),
        "ConfusionCells": found_in.ConfusionCells(n_slices=n_slices, space=space),
        "ConfidenceRank": found_in.ConfidenceRank(space=space),
    }
    every["PlaneSpot"] = found_in.PlaneSpot(n_slices=n_slices, **quiet)
    for estimator in ("svm", "lda"):  # with three of a class they fill the places that all others have
        name = "FailureDirections x3" if estimator == "svm" else "FailureDirections lda x3"
        every[name] = found_in.FailureDirections(estimator=estimator, n_directions=3, **quiet)
    every["FailureFinder"] = found_in.FailureFinder(q=Q, max_slices=n_slices, **quiet)
    every["FailureFinder q=1"] = found_in.FailureFinder(q=1, max_slices=n_slices, **quiet)
    return every


# -- one result --------------------------------------------------------------------------------------------------------


def on_planted(family: str, seed: int, method: str) -> dict[str, Any]:
    """How well a method's slices fit the planted groups, and whether those that do are confirmed."""
    setting = planted.make(family, seed)
    finder = finders(N_SLICES, seed)[method]
    started = time.perf_counter()
    slices = finder.fit(setting.fit).slices(setting.test)
    seconds = time.perf_counter() - started
    table = score_table(setting.groups, [one.scores for one in slices], n_slices=N_SLICES, seed=seed)
    verdicts = [verdict.confirmed for verdict in verify(slices, setting.test, q=Q)]
    confirmed = []
    for of_group in table[:, :, 0]:
        hits = [column for column in range(len(verdicts[:N_SLICES])) if of_group[column] > IDENTIFIED]
        confirmed.append(any(verdicts[column] for column in hits) if hits else None)
    return {
        "oracle": by_oracle(table).tolist(),
        "rank": by_rank(table).tolist(),
        "confirmed": None if finder.uses_outcome else confirmed,
        "n_slices": len(slices),
        "seconds": seconds,
    }


def on_null(_: str, seed: int, method: str) -> dict[str, Any]:
    """Whether `verify` confirms anything where there is nothing."""
    setting = planted.null(seed)
    finder = finders(N_SLICES, seed)[method]
    started = time.perf_counter()
    slices = finder.fit(setting.fit).slices(setting.test)
    seconds = time.perf_counter() - started
    n_confirmed = len(verify(slices, setting.test, q=Q).confirmed)
    return {"n_confirmed": n_confirmed, "n_slices": len(slices), "seconds": seconds}


def on_scenes(space: str, seed: int, method: str, folder: Path) -> dict[str, Any]:
    """Discovery and false-discovery rate on the blind spots of one trained classifier."""
    trial = spotcheck.trial(seed, folder)
    finder = finders(N_SLICES_SCENES, seed, space)[method]
    started = time.perf_counter()
    slices = finder.fit(trial.fit).slices(trial.test)[:N_SLICES_SCENES]
    seconds = time.perf_counter() - started
    again = finder.slices(trial.fresh)[:N_SLICES_SCENES]
    is_real = [verdict.confirmed for verdict in verify(again, trial.fresh, q=Q)]
    rate, false_rate = discovery_rates([one.is_member for one in slices], trial.spots, is_real)
    table = score_table(trial.spots, [one.scores for one in slices], n_slices=N_SLICES_SCENES, seed=seed)
    return {
        "discovery": rate,
        "false_discovery": false_rate,
        "oracle": by_oracle(table).tolist(),
        "n_spots": len(trial.spots),
        "n_slices": len(slices),
        "seconds": seconds,
    }


def one_result(task: Task, folder: Path) -> dict[str, Any]:
    """The line of one task."""
    import torch

    torch.set_num_threads(1)
    part, where, seed, method = task
    with threadpool_limits(limits=1), without_bars():
        try:
            if part == "scenes":
                facts = on_scenes(where, seed, method, folder)
            else:
                facts = {"planted": on_planted, "null": on_null}[part](where, seed, method)
        except Exception as error:
            raise RuntimeError(f"{method} failed on {part}, {where}, seed {seed}: {error}") from error
    return {"part": part, "where": where, "seed": seed, "method": method, **facts}


def prepare(seed: int, folder: Path) -> str:
    """Train the classifier of a trial, when it is not kept yet, and say what it cannot see."""
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(limits=1), without_bars():
        made = spotcheck.trial(seed, folder)
    return f"trial {seed}: wrong on {made.test.error_rate:.1%}; blind spots: {'; '.join(made.names)}"


# -- all of them -------------------------------------------------------------------------------------------------------


def tasks(chosen: argparse.Namespace) -> Iterator[Task]:
    """What the command line asks for, in the order of the tables."""
    every = finders(N_SLICES, 0)
    wanted = chosen.methods or list(every)
    if "planted" in chosen.parts:
        for family in chosen.families:
            for seed in PLANTED_SEEDS[chosen.seeds]:
                yield from (("planted", family, seed, method) for method in wanted)
    if "null" in chosen.parts:
        judged = [method for method in wanted if not every[method].uses_outcome]
        for seed in NULL_SEEDS[chosen.seeds]:
            yield from (("null", "null", seed, method) for method in judged)
    if "scenes" in chosen.parts:
        for space in spotcheck.SPACES:
            for seed in SCENE_SEEDS[chosen.seeds]:
                # SliceLine reads metadata, and the scenes come without.
                yield from (("scenes", space, seed, method) for method in wanted if method != "SliceLine")


def code_digest() -> str:
    """What the results depend on, as eight digits."""
    here, package = Path(__file__).parent, Path(found_in.__file__).parent
    files = [here / f"{name}.py" for name in ("planted", "planted_world", "scoring", "spotcheck")]
    files += [
        package.parent / f"{name}.py"
        for name in ("verification", "_fingerprints", "_slice_counts", "_statistics", "slices", "evaluation")
    ]
    files += sorted(package.glob("*.py"))
    written_here = "".join(inspect.getsource(written) for written in (finders, on_planted, on_null, on_scenes))
    numbers = f"{N_SLICES} {N_SLICES_SCENES} {Q}"
    digest = hashlib.sha256((written_here + numbers).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def kept_results(path: Path | None, code: str) -> dict[Task, dict[str, Any]]:
    """Results of this code that an earlier run has written; a line in the middle of which it was stopped is cut off."""
    if path is None or not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    kept: dict[Task, dict[str, Any]] = {}
    n_other = 0
    for line in text.splitlines():
        one = json.loads(line)
        if one["code"] == code:
            kept[one["part"], one["where"], one["seed"], one["method"]] = one
        else:
            n_other += 1
    print(f"{path}: {len(kept)} results of this code" + (f", {n_other} of other code left alone" if n_other else ""))
    return kept


def run_all(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Results of all tasks, kept or computed now."""
    wanted, code = list(tasks(chosen)), code_digest()
    kept = kept_results(chosen.json, code)
    missing = [task for task in wanted if task not in kept]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        trials = sorted({seed for part, _, seed, _ in missing if part == "scenes"})
        for sentence in each(prepare, [(seed, chosen.cache) for seed in trials], chosen.jobs):
            print(sentence, flush=True)
        results = each(one_result, [(task, chosen.cache) for task in missing], chosen.jobs)
        for one in progress(results, total=len(missing), desc="finders"):
            kept[one["part"], one["where"], one["seed"], one["method"]] = one
            if chosen.json:
                with open(chosen.json, "a", encoding="utf-8") as file:
                    file.write(json.dumps({**one, "code": code}) + "\n")
    return [kept[task] for task in wanted]


def each(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], jobs: int) -> Iterable[Any]:
    """Results of a function as they come."""
    return Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(function)(*one) for one in arguments)


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", choices=("development", "report"), default="development")
    parser.add_argument("--parts", type=_listed, default=list(PARTS), help="of planted, null, scenes; comma-separated")
    parser.add_argument("--families", type=_listed, default=list(planted.FAMILIES), help="of the planted settings")
    parser.add_argument("--methods", type=_listed, help="by the names in the tables; default all")
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2), help="finders at a time, one thread each")
    parser.add_argument("--json", metavar="PATH", type=Path, help="keep every result there, and go on from those kept")
    parser.add_argument(
        "--cache", metavar="FOLDER", type=Path, default=Path(".failviz/scenes"), help="for trained classifiers"
    )
    chosen = parser.parse_args()
    known = {"parts": PARTS, "families": planted.FAMILIES, "methods": tuple(finders(N_SLICES, 0))}
    for option, names in known.items():
        for one in getattr(chosen, option) or ():
            if one not in names:
                parser.error(f"--{option} knows no {one!r}, only {', '.join(names)}")
    print(f"{machine_name()}; {chosen.seeds} seeds, code {code_digest()}")
    return report(run_all(chosen), q=Q)


if __name__ == "__main__":
    sys.exit(main())
