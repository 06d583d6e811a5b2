"""What a fitted estimator of scikit-learn says of its input: which columns hold text, categories or numbers.

The estimator is walked from its input on, once, when the model is loaded: through pipelines, column transformers,
unions and meta-estimators, to whatever first looks at a column's values. A column's position is followed as long as its
values are passed on unchanged.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy
import pandas
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import BaseDecisionTree
from sklearn.utils.validation import check_is_fitted

from polyhost.events import get_logger

logger = get_logger(__name__)

# Where a fitted meta-estimator keeps what it has fitted on its own input.
_MEMBERS = (
    "best_estimator_", "estimator_", "regressor_", "estimators_", "calibrated_classifiers_", "classifiers_",
    "_preprocessor", "estimator",
)  # fmt: skip
# Estimators of scikit-learn that take values of any type.
_TAKE_ANYTHING = (
    DummyClassifier,
    DummyRegressor,
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    MissingIndicator,
)

# The positions of an estimator's columns in the model's input, None for a computed one; None if there are no columns.
Places = Sequence[int | None] | None


class Kind(IntEnum):
    """What a column holds, the one that says most last: where two estimators look at a column, that one is meant."""

    NUMBER = 1
    BOOLEAN = 2
    DATE = 3
    OTHER = 4  # objects that are known by their text, such as datetime.date
    TEXT = 5


@dataclass(frozen=True)
class Column:
    """A column's kind and, for an encoder, its categories without the missing one, which `missing` stands for.

    `closed`: any other value is an error. `required`: so is null, where an empty cell is an empty text.
    """

    kind: Kind
    categories: tuple[Any, ...] = ()
    missing: Any = numpy.nan
    closed: bool = False
    required: bool = False

    @cached_property
    def known(self) -> frozenset[Any]:
        """The categories, for a look-up."""
        return frozenset(self.categories)

    @cached_property
    def by_text(self) -> Mapping[str, Any]:
        """The categories by their text."""
        return {str(value): value for value in self.categories}


@dataclass
class Description:
    """`count` is the number of columns. `columns` by position; `unknown` are those that the model's own code reads.

    `hints` are of unknown columns: the categories of an encoder behind that code, which may have changed the values.
    `texts` are columns of free text. `is_text` and `is_records`: the input has no columns, but is a list of texts, or
    of objects.
    """

    count: int | None
    columns: dict[int, Column] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    hints: dict[int, Column] = field(default_factory=dict)
    texts: set[int] = field(default_factory=set)
    is_text: bool = False
    is_records: bool = False

    def add(self, place: int | None, column: Column) -> None:
        """Note what a column is. If it is known already, keep what says more."""
        if place is None:
            return
        known = self.columns.get(place)
        if known is None or known.kind < column.kind:
            self.columns[place] = column
        elif known.kind == column.kind and not known.categories:
            self.columns[place] = replace(column, missing=known.missing)  # of an imputer, which comes first
        elif known.kind == column.kind and known.categories != column.categories:
            both = tuple(dict.fromkeys((*known.categories, *column.categories)))
            self.columns[place] = replace(known, categories=both, closed=False)

    def add_numbers(self, places: Iterable[int | None]) -> None:
        """Note columns of numbers."""
        for place in places:
            self.add(place, Column(Kind.NUMBER))


def describe(model: Any) -> Description:
    """Walk the estimator. What fails on the way, such as one of another version, leaves the columns unknown."""
    count = _count(model)
    description = Description(count)
    try:
        _visit(model, None if count is None else range(count), description)
    except Exception as error:
        logger.warning("the types of the model's columns are unknown: %s: %s", type(error).__name__, error)
        return Description(count, unknown=set(range(count or 0)))
    description.unknown -= description.columns.keys()
    return description


def _count(model: Any) -> int | None:
    count: int | None = getattr(model, "n_features_in_", None)
    if count is None and isinstance(model, Pipeline):  # which asks its first step, and that may be "passthrough"
        steps = (step for _, step in model.steps if step is not None and not isinstance(step, str))
        return getattr(next(steps, None), "n_features_in_", None)
    return count


def _visit(estimator: Any, places: Places, found: Description) -> Places:
    """Note what the estimator says of the columns, and return those of its output; None if it passes none on."""
    match estimator:
        case None | "drop":
            return None
        case "passthrough":
            return places
        case Pipeline():
            return _visit_steps(estimator, places, found)
        case ColumnTransformer():
            return _visit_columns(estimator, places, found)
        case FeatureUnion():
            for _, member in estimator.transformer_list:
                _visit(member, places, found)
        case CountVectorizer() | HashingVectorizer():
            _note_text(places, found)
        case DictVectorizer() | FeatureHasher():
            takes_objects = getattr(estimator, "input_type", "dict") == "dict"
            found.is_records = found.is_records or (places is None and takes_objects)
        case SimpleImputer():
            return _visit_imputer(estimator, places, found)
        case FunctionTransformer(func=None):
            return places
        case object(categories_=[*categories]) if places is not None and len(categories) == len(places):
            closed = getattr(estimator, "handle_unknown", "ignore") == "error"
            for place, values in zip(places, categories, strict=True):
                found.add(place, _column_of(values, closed))
        case _:
            _visit_other(estimator, places, found)
    return None


def _visit_steps(pipeline: Any, places: Places, found: Description) -> Places:
    for _, step in pipeline.steps:
        if step is None or (isinstance(step, str) and step == "passthrough"):
            continue
        taken, places = places, _visit(step, places, found)
        if places is None and taken is not None and _is_own_code(step):
            places, found = taken, Description(None, columns=found.hints)
        if places is None:
            return None
    return places


def _visit_columns(transformer: Any, places: Places, found: Description) -> Places:
    """Return the columns that pass through, at their places in the output."""
    if places is None:
        return None
    width = max((part.stop for part in transformer.output_indices_.values()), default=0)
    passed: list[int | None] = [None] * width
    for name, member, _ in transformer.transformers_:
        taken = [places[index] for index in transformer._transformer_to_input_indices.get(name, ())]
        output = _visit(member, taken, found)
        part = transformer.output_indices_.get(name, slice(0, 0))
        if output is not None and len(output) == part.stop - part.start:
            passed[part] = output
    return passed


def _note_text(places: Places, found: Description) -> None:
    if places is None:
        found.is_text = True
        return
    for place in places:
        found.add(place, Column(Kind.TEXT, missing="", required=True))
        found.texts.update(() if place is None else (place,))


def _visit_imputer(imputer: Any, places: Places, found: Description) -> Places:
    """Note text where it fills in text. It drops columns that held nothing, and appends others for what was missing."""
    if places is None:
        return None
    passed: list[int | None] = []
    missing = imputer.missing_values if isinstance(imputer.missing_values, str | None) else numpy.nan
    for place, statistic in zip(places, imputer.statistics_, strict=True):
        if not pandas.isna(statistic):
            is_text = isinstance(statistic, str)
            found.add(place, Column(Kind.TEXT, missing=missing) if is_text else Column(Kind.NUMBER))
            passed.append(place)
        elif imputer.keep_empty_features:
            passed.append(place)
    indicator = imputer.indicator_
    return passed if indicator is None else [*passed, *[None] * len(indicator.features_)]


def _visit_other(estimator: Any, places: Places, found: Description) -> None:
    members = list(_members(estimator, places)) if _is_of_sklearn(estimator) else []
    for member, taken in members:
        _visit(member, taken, found)
    if places is None:
        return
    present = {place for place in places if place is not None}
    if _is_own_code(estimator):
        found.unknown |= present
    elif not (members or isinstance(estimator, _TAKE_ANYTHING) or _calls_own_code(estimator)):
        found.add_numbers(present)
    elif getattr(estimator, "is_categorical_", None) is not None:  # histogram-based gradient boosting
        categorical = estimator.is_categorical_
        found.add_numbers(place for place, is_one in zip(places, categorical, strict=True) if not is_one)


def _members(estimator: Any, places: Places) -> Iterator[tuple[Any, Places]]:
    """Return the fitted estimators inside, each with its columns."""
    subsets = getattr(estimator, "estimators_features_", None)
    for attribute in _MEMBERS:
        members = _flat(getattr(estimator, attribute, None))
        if members and isinstance(members[0], BaseDecisionTree):  # a forest's: they take numbers, and are many
            continue
        for index, member in enumerate(members):
            taken: Places = places
            if places is not None and attribute == "estimators_" and subsets is not None:
                taken = [places[place] for place in subsets[index]]
            elif places is not None and attribute == "estimator_" and hasattr(estimator, "support_"):
                taken = [place for place, kept in zip(places, estimator.support_, strict=True) if kept]
            if _is_fitted(member) and (taken is None or getattr(member, "n_features_in_", len(taken)) == len(taken)):
                yield member, taken


def _flat(value: Any) -> list[Any]:
    """Return what a list or an array holds, in lists too. An estimator may have items itself, and is not opened."""
    if isinstance(value, list | tuple):
        return [member for item in value for member in _flat(item)]
    return value.ravel().tolist() if isinstance(value, numpy.ndarray) else [value]


def _is_fitted(member: Any) -> bool:
    if not isinstance(member, BaseEstimator):
        return hasattr(member, "estimator")  # CalibratedClassifierCV wraps its own
    try:
        check_is_fitted(member)
    except NotFittedError:
        return False
    return True


def _is_of_sklearn(estimator: Any) -> bool:
    return type(estimator).__module__.startswith("sklearn.")


def _is_own_code(estimator: Any) -> bool:
    return isinstance(estimator, FunctionTransformer) or not _is_of_sklearn(estimator)


def _calls_own_code(estimator: Any) -> bool:
    return any(callable(getattr(estimator, name, None)) for name in ("kernel", "metric", "affinity"))


def _column_of(values: Any, closed: bool) -> Column:
    given = numpy.asarray(values)
    categories = [value for value in given.tolist() if not _is_missing(value)]
    missing = next((value for value in given.tolist() if _is_missing(value)), numpy.nan)
    return Column(_kind_of(given, categories), tuple(categories), missing, closed)


def _kind_of(given: Any, categories: Sequence[Any]) -> Kind:
    if given.dtype.kind == "M":
        return Kind.DATE
    if any(isinstance(value, str) for value in categories):
        return Kind.TEXT
    if categories and all(isinstance(value, bool | numpy.bool_) for value in categories):
        return Kind.BOOLEAN
    if all(isinstance(value, int | float | numpy.number) for value in categories):
        return Kind.NUMBER
    return Kind.OTHER


def _is_missing(value: Any) -> bool:
    return value is None or value is pandas.NA or (isinstance(value, float) and value != value)
