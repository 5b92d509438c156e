"""The Evaluation: one frozen, aligned table of what one model did on one data set.

One row per example: embeddings in one or more named spaces, and whatever is known of label,
prediction, probabilities and loss. Nothing here knows about pixels; images, text, recommenders
and tables are all rows.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from failviz import _checks, _fingerprints
from failviz._columns import aligned_columns, frozen
from failviz._multilabel import Heads, heads_of

if TYPE_CHECKING:
    import pandas as pd


_OF_OUTCOMES = ("n_classes", "errors", "confidence", "hash")  # computed once from columns


class Evaluation:
    """Results of one model on one data set, aligned row by row and never changed.

    Rows belong together by position; the index of a pandas Series or DataFrame is not looked at.
    Missing columns are derived where they can be: predictions from probs, losses from probs and
    labels, `errors` from predictions and labels.

    Parameters
    ----------
    embeddings : array (n, d) or dict of {space name: array (n, d)}
        Kept as float16 or float32, memory-mapped arrays stay so; anything else becomes float32.
        Not copied: do not write into them afterwards, nor into `metadata` or `class_names`.
    labels, predictions : (n,) class numbers or class names, optional
        Names without `class_names` are numbered alphabetically, which is refused where anything
        else goes by number. A missing class is refused.
    probs : (n, n_classes), optional
        Class probabilities; rows sum to one within 1e-3. float32, memory-mapped or not, is kept as it is.
    losses : (n,), optional
        Loss of each example, in nats for cross-entropy.
    weights : (n,), optional
        How many examples each row stands for, >= 0; default 1.
    ids : (n,), optional
        Stable, unique names of the examples, kept as an object array of str; default "0" to "n-1".
    metadata : any dataframe or dict of columns, optional
        Facts about the examples, to colour the map by and to read beside each one.
    class_names : list of str, optional
        In the order of the class numbers, which are the columns of `probs`; needed when names and `probs` are given.
    source : optional
        Something that can show example i (images, files, texts, a data set, a function of i), see
        `failviz.sources`.
    model_spaces : list of str, default ()
        Names of the spaces that are layers of the model under study: a slice found there may be
        no more than a confusion cell, and `verify` says so.
    feature_names : list of str (of the first space) or dict of {space name: list of str}, optional
        What the dimensions of a space are called, so that rules say "age high"; None = they have no names. Default:
        the columns, where embeddings are a dataframe and its columns have names.

    Raises
    ------
    ValueError, TypeError
        In one line: which column, which row, what to do.

    Examples
    --------
    >>> import numpy as np
    >>> ev = Evaluation(np.eye(4), labels=[0, 1, 1, 0], predictions=[0, 1, 0, 0])
    >>> ev.error_rate
    0.25
    """

    def __init__(
        self,
        embeddings: Any,
        *,
        labels: Any = None,
        predictions: Any = None,
        probs: Any = None,
        losses: Any = None,
        weights: Any = None,
        ids: Iterable[object] | None = None,
        metadata: Any = None,
        class_names: Iterable[object] | None = None,
        source: Any = None,
        model_spaces: Iterable[str] = (),
        feature_names: Any = None,
    ):
        outcomes = (labels, predictions, probs, losses, weights)
        columns = aligned_columns(
            embeddings, *outcomes, ids, metadata, class_names, source, model_spaces, feature_names
        )
        for name, value in columns.items():
            super().__setattr__(name, value)

    labels: np.ndarray | None
    predictions: np.ndarray | None
    probs: np.ndarray | None
    losses: np.ndarray | None
    weights: np.ndarray
    ids: np.ndarray
    metadata: pd.DataFrame | None
    class_names: list[str] | None
    source: Any
    model_spaces: tuple[str, ...]
    _spaces: dict[str, np.ndarray]
    _feature_names: dict[str, list[str]]

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Evaluation does not change: build another one with the new {name}.")

    @classmethod
    def from_multilabel(
        cls,
        embeddings: Any,
        *,
        labels: Any,
        probs: Any,
        thresholds: Any = None,
        head_names: Iterable[object] | None = None,
        weights: Any = None,
        ids: Iterable[object] | None = None,
        metadata: Any = None,
        source: Any = None,
        model_spaces: Iterable[str] = (),
        feature_names: Any = None,
    ) -> Heads:
        """One binary Evaluation for each head of a multi-label model, so that each can be searched by itself.

        A head is predicted positive where its probability is at least its threshold. Thresholds not given are chosen
        on these very data, of 0.01, 0.02, ... 0.99 the one with the highest F1 (of equal ones that nearest to 0.5, so
        0.5 for a head without positives): error rates are then a little too low. Choose them on validation data,
        and hand them on: `from_multilabel(..., thresholds=validation.thresholds)`.

        Parameters
        ----------
        embeddings, weights, ids, metadata, source, model_spaces, feature_names
            As of the constructor; weights count in F1.
        labels : (n, n_heads) of 0 and 1, or true and false
        probs : (n, n_heads)
            Probability in [0, 1] that each head gives to "yes". Not copied.
        thresholds : number, sequence (n_heads,) or dict of {head name: number}, optional
            Each strictly between 0 and 1.
        head_names : list of str, optional
            Default: the column names, where labels or probs are a DataFrame, else "head 0" and so on.

        Returns
        -------
        Heads
            A mapping from head name to Evaluation, with `thresholds`. Each has the classes "not name" (0) and
            "name" (1), probs of both, predictions by threshold, and binary cross-entropy in nats as losses.

        Raises
        ------
        ValueError, TypeError
            In one line: which column, which head and row, what to do.

        Examples
        --------
        >>> import numpy as np
        >>> labels, probs = [[1, 0], [1, 1], [0, 0]], [[0.4, 0.2], [0.3, 0.9], [0.1, 0.6]]
        >>> heads = Evaluation.from_multilabel(np.eye(3), labels=labels, probs=probs, head_names=["smile", "hat"])
        >>> heads.thresholds
        {'smile': 0.3, 'hat': 0.61}
        >>> heads["hat"].class_names, heads["hat"].error_rate
        (['not hat', 'hat'], 0.0)
        """
        examples = cls(
            embeddings,
            weights=weights,
            ids=ids,
            metadata=metadata,
            source=source,
            model_spaces=model_spaces,
            feature_names=feature_names,
        )
        return heads_of(examples, labels, probs, thresholds, head_names)

    def _with_columns(self, **columns: Any) -> Evaluation:
        """These examples with other, checked columns (not embeddings); what is known of their rows is shared."""
        other = object.__new__(type(self))
        known = {"_hashes_known": self._hashes_known, "_fingerprints_known": self._fingerprints_known}
        held = {name: value for name, value in vars(self).items() if name not in _OF_OUTCOMES}
        vars(other).update(held, **known, **columns)
        return other

    # -- what it holds ---------------------------------------------------------------------

    @property
    def n_examples(self) -> int:
        return len(self.ids)

    def __len__(self) -> int:
        return self.n_examples

    @cached_property
    def n_classes(self) -> int:
        """Number of classes: of the names, else of the probabilities, else the highest number seen plus one."""
        if self.class_names is not None:
            return len(self.class_names)
        if self.probs is not None:
            return self.probs.shape[1]
        columns = [column for column in (self.labels, self.predictions) if column is not None]
        if not columns:
            raise ValueError("this Evaluation has no classes: give it labels, predictions, probs or class_names.")
        return int(max(column.max() for column in columns)) + 1

    def class_name(self, class_number: int) -> str:
        """The name of a class, or "class 3" when names were not given."""
        return self.class_names[class_number] if self.class_names is not None else f"class {class_number}"

    @property
    def spaces(self) -> list[str]:
        """Names of the embedding spaces; the first is the default."""
        return list(self._spaces)

    def space(self, name: str | None = None) -> np.ndarray:
        """Embeddings (n, d) of one space; the first one when no name is given."""
        name = self.spaces[0] if name is None else name
        if name not in self._spaces:
            raise ValueError(
                f"there is no space {name!r} in this Evaluation, only {', '.join(map(repr, self.spaces))}."
            )
        return self._spaces[name]

    def feature_names(self, space: str | None = None) -> list[str] | None:
        """What the dimensions of a space (the first one when no name is given) are called; None where nobody said."""
        self.space(space)  # or refuse
        names = self._feature_names.get(self.spaces[0] if space is None else space)
        return None if names is None else list(names)

    @cached_property
    def errors(self) -> np.ndarray:
        """Boolean (n,): prediction differs from label."""
        self.require("labels", "predictions", by="errors")
        assert self.labels is not None and self.predictions is not None
        return frozen(self.labels != self.predictions)

    @property
    def correct(self) -> np.ndarray:
        """Boolean (n,): prediction equals label."""
        return ~self.errors

    @property
    def error_rate(self) -> float:
        """Weighted share of wrong examples, in [0, 1]."""
        return float(np.average(self.errors, weights=self.weights))

    @cached_property
    def confidence(self) -> np.ndarray:
        """float32 (n,): probability of the predicted class."""
        self.require("probs", by="confidence")
        assert self.probs is not None and self.predictions is not None
        return frozen(self.probs[np.arange(self.n_examples), self.predictions])

    def require(self, *columns: str, by: str) -> None:
        """Refuse, in a sentence, when a column that `by` needs is missing."""
        cure = {
            "labels": "give it labels",
            "predictions": "give it predictions, or probs",
            "probs": "give it probs",
            "losses": "give it probs and labels, or losses",
            "metadata": "give it metadata",
        }
        for column in columns:
            if getattr(self, column) is None:
                raise ValueError(f"{by} needs {column}, and this Evaluation has none: {cure[column]}.")

    # -- identity --------------------------------------------------------------------------

    def row_hashes(self, space: str | None = None) -> np.ndarray:
        """uint64 (n,): the content of each row of a space as a number, equal for equal float32 values.

        Computed once per space.
        """
        name = self.spaces[0] if space is None else space
        if name not in self._hashes_known:
            self._hashes_known[name] = frozen(_fingerprints.content_hashes(self.space(name)))
        return self._hashes_known[name]

    def row_fingerprints(self, space: str | None = None) -> np.ndarray:
        """uint64 (n, 3): `row_hashes` and two fingerprints of each row that survive rounding to float16.

        Ids prove nothing across data sets; these tell whether an example was in another one. Computed once per space.
        """
        name = self.spaces[0] if space is None else space
        if name not in self._fingerprints_known:
            self._fingerprints_known[name] = frozen(_fingerprints.fingerprints(self.space(name)))
        return self._fingerprints_known[name]

    @cached_property
    def _hashes_known(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _fingerprints_known(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def hash(self) -> str:
        """Hexadecimal fingerprint of ids, outcome columns and every space."""
        digest = hashlib.sha256()
        for name in self.spaces:
            digest.update(name.encode())
            digest.update(self.row_hashes(name).tobytes())
        for column in ("labels", "predictions", "probs", "losses", "weights"):
            values = getattr(self, column)
            digest.update(column.encode() + (b"" if values is None else np.ascontiguousarray(values).tobytes()))
        digest.update("\x1f".join(self.ids).encode("utf-8", "surrogatepass"))
        digest.update("\x1f".join(self._all_names() or []).encode())
        return digest.hexdigest()

    def rows_of(self, ids: Iterable[object]) -> np.ndarray:
        """Row numbers (int64) of the given ids, in their order; an unknown id is refused by name."""
        position = self._position
        rows = []
        for wanted in [ids] if isinstance(ids, str) else _checks.unhidden(ids, "ids"):
            row = position.get(str(wanted))
            if row is None:
                raise ValueError(f"there is no example with id {str(wanted)!r} in this Evaluation.")
            rows.append(row)
        return np.array(rows, dtype=np.int64)

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids.tolist())}

    # -- parts of it -----------------------------------------------------------------------

    def take(self, rows_or_mask: Any) -> Evaluation:
        """The Evaluation of some of the examples, in the order given; they keep their ids."""
        rows = _checks.rows(rows_or_mask, self.n_examples)
        if len(rows) == 0:
            raise ValueError("take got no rows: an Evaluation needs at least one example.")

        def part(column: np.ndarray | None) -> np.ndarray | None:
            return None if column is None else column[rows]

        return Evaluation(
            {name: array[rows] for name, array in self._spaces.items()},
            labels=part(self.labels),
            predictions=part(self.predictions),
            probs=part(self.probs),
            losses=part(self.losses),
            weights=part(self.weights),
            ids=self.ids[rows],
            metadata=None if self.metadata is None else self.metadata.iloc[rows],
            class_names=self._all_names(),
            source=None if self.source is None else self.source.take(rows),
            model_spaces=self.model_spaces,
            feature_names=self._feature_names,
        )

    def _all_names(self) -> list[str] | None:
        """Class names, made up where there are none, so that a part keeps all its classes (and the whole its hash)."""
        if self.class_names is not None or (self.labels is None and self.predictions is None):
            return self.class_names
        return [self.class_name(number) for number in range(self.n_classes)]

    def split(
        self, fraction: float, *, stratify: bool = True, random_state: Any = None
    ) -> tuple[Evaluation, Evaluation]:
        """Two disjoint Evaluations, the first with this share of the examples.

        With `stratify`, every combination of label and outcome is divided in the same proportion.
        """
        from sklearn.utils import check_random_state

        _checks.fraction(fraction, "fraction")
        _checks.true_or_false(stratify, "stratify")
        rng = check_random_state(random_state)
        stratum = np.zeros(self.n_examples, dtype=np.int64)
        if stratify and self.labels is not None:
            stratum = self.labels * 2 + (self.errors if self.predictions is not None else 0)
        shuffled = rng.permutation(self.n_examples)
        order = shuffled[np.argsort(stratum[shuffled], kind="stable")]
        # Walking through the strata one after another, row k goes first when k * fraction passes a whole number.
        passed = np.floor((np.arange(len(order)) + 1) * fraction) > np.floor(np.arange(len(order)) * fraction)
        if passed.all() or not passed.any():
            raise ValueError(f"a fraction of {fraction} of {self.n_examples} examples leaves one side empty.")
        return self.take(np.sort(order[passed])), self.take(np.sort(order[~passed]))

    def to_frame(self) -> pd.DataFrame:
        """pandas DataFrame indexed by id: names of label and prediction, outcome, loss, confidence, metadata."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name in ("labels", "predictions"):
            values = getattr(self, name)
            if values is not None:
                named = np.array([self.class_name(number) for number in range(self.n_classes)])
                columns[name[:-1]] = named[values]
        if self.labels is not None and self.predictions is not None:
            columns["correct"] = self.correct
        if self.losses is not None:
            columns["loss"] = self.losses
        if self.probs is not None:
            columns["confidence"] = self.confidence
        columns["weight"] = self.weights
        for name, values in () if self.metadata is None else self.metadata.items():
            columns[f"{name} (metadata)" if name in columns else str(name)] = values.to_numpy()
        return pd.DataFrame(columns, index=pd.Index(self.ids, name="id"))

    # -- on disk ---------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder of `.npy` arrays and JSON; an older one is replaced whole.

        The source is not saved: give it again to `load`. Metadata come back with the dtypes they had.

        Raises
        ------
        ValueError
            When a metadata column holds things that are no numbers, dates, text or categories.
        """
        from failviz._evaluation_format import write

        write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, source: Any = None) -> Evaluation:
        """Open a saved Evaluation; embeddings and probs are memory-mapped, nothing is unpickled.

        Raises
        ------
        FileNotFoundError, ValueError
            When the folder is none of ours, or what is in it is not what was saved.
        """
        from failviz._evaluation_format import read

        return read(path, source=source)

    def __repr__(self) -> str:
        parts = [f"{self.n_examples:,} examples"]
        if self.labels is not None or self.predictions is not None or self.class_names is not None:
            parts.append(f"{self.n_classes} classes")
        if self.labels is not None and self.predictions is not None:
            parts.append(f"{self.error_rate:.1%} wrong")
        spaces = ", ".join(f"{name} ({array.shape[1]})" for name, array in self._spaces.items())
        known = [name for name in ("labels", "predictions", "probs", "losses") if getattr(self, name) is not None]
        return f"Evaluation({', '.join(parts)}; spaces {spaces}; columns {', '.join(known) or 'none'})"
