"""A retraining on disk after each whole epoch: weights and optimizer as safetensors, everything else as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from failviz.store import atomic_folder, recovered, write_json

FORMAT = 1
MARK = "retraining.json"
_WEIGHTS, _BEST, _OPTIMIZER = "weights.safetensors", "best.safetensors", "optimizer.safetensors"
_FILES = {MARK, _WEIGHTS, _BEST, _OPTIMIZER}


@dataclass(frozen=True)
class Standing:
    """Where a training stands after a whole epoch; `best` are the weights of the epoch that validated best."""

    epoch: int = 0
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    best_epoch: int = 0
    best_loss: float | None = None
    best: Mapping[str, torch.Tensor] | None = None


class Checkpoint:
    """A folder that holds one training as of its last whole epoch.

    Parameters
    ----------
    folder : path
        Created by the first `save`. One that holds other files is refused.
    task : mapping of str to plain value
        What is trained from what, in the words of messages.

    Raises
    ------
    FileExistsError
        When something else is there.
    ValueError
        When another training was begun there; the message says what differs.
    """

    def __init__(self, folder: str | os.PathLike[str], task: Mapping[str, Any]):
        self._folder = recovered(folder, MARK)
        self._task = json.loads(json.dumps(dict(task), default=lambda number: number.item()))  # numpy's to Python's
        self._facts: dict[str, Any] | None = None
        if not self._folder.exists():
            return
        found = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else {self._folder.name}
        if not found:
            return
        if MARK not in found or any(name not in _FILES and not name.startswith(".") for name in found):
            raise FileExistsError(f"{self._folder} holds other files and was left alone: give another path.")
        try:
            self._facts = json.loads((self._folder / MARK).read_text(encoding="utf-8"))
            assert self._facts is not None
            version, begun = self._facts["format"], self._facts["task"]
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise self._damaged(error) from error
        if version != FORMAT:
            raise ValueError(f"{self._folder} is of format {version}, and this failviz reads {FORMAT}: update failviz?")
        differing = [name for name in task if begun.get(name) != self._task[name]]
        if differing:
            raise ValueError(
                f"{self._folder} was begun with another {' and '.join(differing)}: give another path, or delete that "
                "folder to start again."
            )

    def resume(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Standing:
        """Bring both to where the last whole epoch left them."""
        if self._facts is None:
            return Standing()
        try:
            model.load_state_dict(load_file(self._folder / _WEIGHTS))
            optimizer.load_state_dict(_unpacked(self._facts["optimizer"], load_file(self._folder / _OPTIMIZER)))
            best = load_file(self._folder / _BEST) if self._facts["standing"]["best_epoch"] else None
            return Standing(**self._facts["standing"], best=best)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise self._damaged(error) from error

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, standing: Standing) -> None:
        """Replace what is there, whole or not at all."""
        held: dict[str, torch.Tensor] = {}
        packed = _packed(optimizer.state_dict(), held)
        facts = {name: value for name, value in vars(standing).items() if name != "best"}
        with atomic_folder(self._folder, MARK) as work:
            save_file(weights_of(model), work / _WEIGHTS)
            save_file(held, work / _OPTIMIZER)
            if standing.best is not None:
                save_file(dict(standing.best), work / _BEST)
            write_json(work / MARK, {"format": FORMAT, "task": self._task, "standing": facts, "optimizer": packed})

    def _damaged(self, error: Exception) -> ValueError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return ValueError(f"{self._folder} is damaged ({reason}): delete that folder to start again.")


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all weights and statistics on the CPU; tied ones are copied each."""
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"the model's state {name!r} is a {type(value).__name__}, and only tensors can be kept.")
    return {name: _apart(value) for name, value in state.items()}


def _apart(value: torch.Tensor) -> torch.Tensor:
    return value.detach().cpu().contiguous().clone()


def _packed(value: Any, held: dict[str, torch.Tensor]) -> Any:
    """`value` for JSON; its tensors go to `held`, and their names stay."""
    if isinstance(value, torch.Tensor):
        name = str(len(held))
        held[name] = _apart(value)
        return {"tensor": name}
    if isinstance(value, Mapping):  # whose keys need not be text
        return {"mapping": [[_packed(key, held), _packed(inner, held)] for key, inner in value.items()]}
    if isinstance(value, tuple | list):
        return {"tuple" if isinstance(value, tuple) else "list": [_packed(inner, held) for inner in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"the optimizer keeps a {type(value).__name__}, which cannot be saved: leave checkpoint out.")


def _unpacked(value: Any, held: Mapping[str, torch.Tensor]) -> Any:
    """What `_packed` was given."""
    if not isinstance(value, dict):
        return value
    (kind, inner), *_ = value.items()
    if kind == "tensor":
        return held[inner]
    if kind == "mapping":
        return {_unpacked(key, held): _unpacked(part, held) for key, part in inner}
    parts = [_unpacked(part, held) for part in inner]
    return tuple(parts) if kind == "tuple" else parts
