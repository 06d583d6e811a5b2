"""Rows as the estimator was fitted on them. The models are real ones, and what they give themselves is right."""

import json
from typing import Any

import numpy
import pytest

from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.errors import BadBodyError

pytest.importorskip("sklearn")

import pandas
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import (
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier

from polyhost.handlers.sklearn.handler import SklearnHandler

CODES = ["007", "08", "7", "007", "true", "1e3"] * 5
TARGETS = [0, 1, 2, 0, 3, 4] * 5
TABLE = pandas.DataFrame(
    {
        "code": CODES,
        "member": [True, False, True, True, False, False] * 5,
        "rooms": [1, 2, 3, 1, 4, 5] * 5,
        "size": [0.5, 1.5, 2.5, 0.5, 3.5, None] * 5,
    }
)
LABELS = ["a", "b", "c", "a", "d", "e"] * 5


def served(model: Any) -> SklearnHandler:
    handler = SklearnHandler()
    handler.use_model(model, "model.joblib", Source(None))  # type: ignore[arg-type]
    return handler


def post(handler: SklearnHandler, body: Any, content_type: str = "application/json") -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = handler.respond(HandlerRequest(text.encode(), content_type)).body
    assert isinstance(answer, bytes | str)
    return json.loads(answer)


def encoder(**options: Any) -> Any:
    return OneHotEncoder(handle_unknown="ignore", **options)


def objects(values: list[Any]) -> Any:
    return numpy.array(values, dtype=object).reshape(len(values), -1)


ON_CODES = [
    lambda: make_pipeline(encoder(), DecisionTreeClassifier()),
    lambda: make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), DecisionTreeClassifier()
    ),
    lambda: GridSearchCV(
        make_pipeline(encoder(), DecisionTreeClassifier()), {"decisiontreeclassifier__max_depth": [5]}
    ),
    lambda: VotingClassifier(
        [
            ("a", make_pipeline(encoder(), DecisionTreeClassifier())),
            ("b", make_pipeline(encoder(), RandomForestClassifier(5))),
        ]
    ),
    lambda: StackingClassifier(
        [("a", make_pipeline(encoder(), DecisionTreeClassifier()))], DecisionTreeClassifier(), cv=2
    ),
    lambda: BaggingClassifier(make_pipeline(encoder(), DecisionTreeClassifier()), 9, random_state=0),
    lambda: CalibratedClassifierCV(make_pipeline(encoder(), DecisionTreeClassifier()), cv=2),
    lambda: make_pipeline(make_union(encoder(), OrdinalEncoder()), DecisionTreeClassifier()),
    lambda: make_pipeline(SimpleImputer(strategy="most_frequent"), encoder(), DecisionTreeClassifier()),
    lambda: make_pipeline(
        ColumnTransformer([("i", SimpleImputer(strategy="constant", fill_value="none"), [0])]),
        encoder(),
        DecisionTreeClassifier(),
    ),
    lambda: Pipeline([("none", "passthrough"), ("code", encoder()), ("tree", DecisionTreeClassifier())]),
    lambda: make_pipeline(FunctionTransformer(), encoder(), DecisionTreeClassifier()),
]


@pytest.mark.parametrize("make", ON_CODES)
def test_digits_stay_text_for_an_estimator_of_text(make: Any) -> None:
    model = make().fit(objects(CODES), TARGETS)
    handler = served(model)
    wanted = model.predict(objects(CODES[:6])).tolist()
    assert len(set(wanted)) > 3
    assert post(handler, "\n".join(CODES[:6]), "text/csv") == wanted
    assert post(handler, "x\n" + "\n".join(CODES[:6]), "text/csv; header=present") == wanted
    assert post(handler, [[code] for code in CODES[:6]]) == wanted
    assert post(handler, {"instances": [{"features": [code]} for code in CODES[:6]]}) == wanted
    assert post(handler, CODES[:6]) == wanted


def columns(size: Any = "passthrough") -> Any:
    return make_column_transformer(
        (encoder(), ["code", "member"]), (OrdinalEncoder(), ["rooms"]), (size, ["size"]), remainder="drop"
    )


ON_A_TABLE = [
    lambda: make_pipeline(columns(make_pipeline(SimpleImputer(), StandardScaler())), DecisionTreeClassifier()),
    lambda: make_pipeline(columns(), HistGradientBoostingClassifier(min_samples_leaf=1)),
    lambda: GridSearchCV(
        make_pipeline(columns(SimpleImputer()), DecisionTreeClassifier()),
        {"decisiontreeclassifier__max_depth": [5]},
        cv=2,
    ),
]


@pytest.mark.parametrize("make", ON_A_TABLE)
def test_columns_of_a_table_have_the_types_they_were_fitted_on(make: Any) -> None:
    model = make().fit(TABLE, LABELS)
    handler, part = served(model), TABLE[:6]
    wanted = model.predict(part).tolist()
    assert post(handler, part.to_csv(index=False), "text/csv") == wanted
    assert post(handler, part.to_csv(), "text/csv") == wanted
    assert post(handler, part.to_csv(index=False, header=False), "text/csv") == wanted
    assert post(handler, part[["size", "rooms", "member", "code"]].to_csv(index=False), "text/csv") == wanted
    for orient in ("records", "split", "columns", "index", "values"):
        assert post(handler, part.to_json(orient=orient)) == wanted, orient
    assert post(handler, part.to_json(orient="records", lines=True), "application/jsonlines") == wanted
    assert post(handler, {"dataframe_split": json.loads(part.to_json(orient="split"))}) == wanted
    as_text = [[str(cell) if cell == cell else None for cell in row] for row in part.values.tolist()]
    assert post(handler, as_text) == wanted
    assert post(handler, json.loads(part[:1].to_json(orient="records"))[0]) == {"prediction": wanted[0]}
    tensors = [
        {"name": "code", "shape": [6], "datatype": "BYTES", "data": part["code"].tolist()},
        {"name": "member", "shape": [6, 1], "datatype": "BOOL", "data": part["member"].tolist()},
        {"name": "rooms", "shape": [6, 1], "datatype": "INT64", "data": part["rooms"].tolist()},
        {"name": "size", "shape": [6], "datatype": "FP64", "data": json.loads(part["size"].to_json(orient="values"))},
    ]
    assert post(handler, {"inputs": tensors}) == wanted


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"code": 9}, "the column 'code' takes text; row 0 has the number 9: send text, such as \"007\""),
        ({"code": False}, "the column 'code' takes text; row 0 has the boolean false"),
        ({"code": [1]}, "the value of 'code' is a list"),
        ({"member": "maybe"}, "the column 'member' takes one of false, true; row 0 has \"maybe\""),
        ({"rooms": "many"}, "the column 'rooms' takes numbers; row 0 has \"many\""),
        ({"rooms": 9}, "the column 'rooms' takes one of 1, 2, 3, 4, 5; row 0 has the number 9"),
        ({"size": "big"}, "the column 'size' takes numbers; row 0 has \"big\""),
        ({"size": "null"}, "send one, or leave it out (an empty cell of CSV, null in JSON)"),
    ],
)
def test_the_column_at_fault_is_named(change: dict[str, Any], text: str) -> None:
    handler = served(ON_A_TABLE[0]().fit(TABLE, LABELS))
    with pytest.raises(BadBodyError) as raised:
        post(handler, {"code": "007", "member": True, "rooms": 1, "size": 0.5} | change)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("value", "category"), [(7, "7"), (7.0, "7"), (True, "true"), (1000.0, None), ("1e3", "1e3"), (8, None)]
)
def test_numbers_in_json_for_a_column_of_text(value: Any, category: str | None) -> None:
    """A number is the category whose text it is, and no other: 8 is not "08"."""
    model = make_pipeline(encoder(), DecisionTreeClassifier()).fit(objects(CODES), TARGETS)
    if category is None:
        with pytest.raises(BadBodyError, match="the column 0 takes text"):
            post(served(model), [[value]])
    else:
        assert post(served(model), [[value]]) == [TARGETS[CODES.index(category)]]


def test_words_of_booleans_are_numbers_where_numbers_are_taken() -> None:
    rows = [[True, 1.0], [False, 2.0], [True, 3.0], [False, 4.0]]
    model = DecisionTreeClassifier().fit(rows, [0, 1, 2, 3])
    assert post(served(model), "True,1.0\nFalse,2.0\ntrue,3.0\nFALSE,4.0\n", "text/csv") == [0, 1, 2, 3]
    assert post(served(model), [[True, 1], ["false", "2"]]) == [0, 1]
    with pytest.raises(BadBodyError, match='the column 0 takes numbers; row 1 has "yes"'):
        post(served(model), "True,1.0\nyes,2.0\n", "text/csv")


@pytest.mark.parametrize("missing", [numpy.nan, None])
def test_an_empty_cell_is_the_missing_category(missing: Any) -> None:
    values = ["red", missing, "blue", "red"] * 3
    model = make_pipeline(encoder(), DecisionTreeClassifier()).fit(objects(values), [0, 1, 2, 0] * 3)
    assert post(served(model), 'red\n""\nblue\n', "text/csv") == [0, 1, 2]
    assert post(served(model), [["red"], [None], ["blue"]]) == [0, 1, 2]


def test_mixed_columns_of_an_array() -> None:
    rows = [["red", 1, True], ["1", 2, False], ["blue", 3, True]] * 3
    model = make_pipeline(encoder(), DecisionTreeClassifier()).fit(numpy.array(rows, dtype=object), [0, 1, 2] * 3)
    assert post(served(model), "red,1,True\n1,2,False\nblue,3,True\n", "text/csv") == [0, 1, 2]
    assert post(served(model), rows[:3]) == [0, 1, 2]


def test_dates() -> None:
    days = pandas.to_datetime(["2024-01-05", "2024-02-06", "2024-03-07"] * 3)
    table = pandas.DataFrame({"day": days})
    model = make_pipeline(encoder(), DecisionTreeClassifier()).fit(table, [0, 1, 2] * 3)
    assert post(served(model), "day\n2024-02-06\n2024-03-07\n", "text/csv") == [1, 2]
    assert post(served(model), [{"day": "2024-03-07"}, {"day": "2024-01-05T00:00:00"}]) == [2, 0]
    with pytest.raises(BadBodyError, match=r'takes dates.*; row 1 has "1/2/2024"'):
        post(served(model), "day\n2024-02-06\n1/2/2024\n", "text/csv")
    with pytest.raises(BadBodyError, match='row 2 has "yesterday"'):
        post(served(model), [{"day": None}, {"day": "2024-02-06"}, {"day": "yesterday"}])


def test_a_header_of_text_above_text_is_seen_by_the_models_names() -> None:
    table = pandas.DataFrame({"colour": ["red", "blue"] * 3, "shape": ["round", "flat"] * 3})
    handler = served(make_pipeline(encoder(), DecisionTreeClassifier()).fit(table, [0, 1] * 3))
    assert post(handler, "shape,colour\nround,red\nflat,blue\n", "text/csv") == [0, 1]
    assert post(handler, "red,round\nblue,flat\n", "text/csv") == [0, 1]


def test_digits_below_text_make_no_header_of_a_column_of_text() -> None:
    handler = served(make_pipeline(encoder(), DecisionTreeClassifier()).fit(objects(["abc", "007"] * 3), [0, 1] * 3))
    assert post(handler, "abc\n007\n", "text/csv") == [0, 1]


def test_histogram_boosting_with_categories() -> None:
    table = TABLE.assign(code=TABLE["code"].astype("category"))[["code", "rooms"]]
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", min_samples_leaf=1, max_iter=20)
    model.fit(table, LABELS)
    wanted = model.predict(table[:6]).tolist()
    assert post(served(model), table[:6].to_csv(index=False), "text/csv") == wanted
    assert post(served(model), table[:6].to_json(orient="records")) == wanted
    with pytest.raises(BadBodyError, match="the column 'rooms' takes numbers; row 0 has \"many\""):
        post(served(model), {"code": "007", "rooms": "many"})


def test_regressor_with_a_transformed_target() -> None:
    inner = make_pipeline(encoder(), LinearRegression())
    model = TransformedTargetRegressor(inner, func=numpy.log1p, inverse_func=numpy.expm1).fit(objects(CODES), TARGETS)
    assert post(served(model), "007\n7\n", "text/csv") == pytest.approx([0, 2], abs=1e-6)


class Codes(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Code of the model's own: what it takes cannot be known."""

    def fit(self, rows: Any, targets: Any = None) -> "Codes":
        self.n_features_in_ = numpy.shape(rows)[1]
        return self

    def transform(self, rows: Any) -> Any:
        return numpy.array([[len(str(cell)) for cell in row] for row in numpy.asarray(rows).tolist()])


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("1,a\n2,3\n", "text/csv", r'text was sent for the columns 1 \("a"\)'),
        ("True,1\n", "text/csv", r'for the columns 0 \("True"\)'),
        ('[["1", "2"]]', "application/json", r'for the columns 0 \("1"\), 1 \("2"\)'),
    ],
)
def test_text_for_code_of_the_models_own(body: str, content_type: str, text: str) -> None:
    """What takes the columns cannot be known; numpy's words alone name none of them."""
    model = make_pipeline(FunctionTransformer(numpy.log1p), LinearRegression()).fit([[1, 2], [3, 5]], [1, 2])
    with pytest.raises(BadBodyError, match=text):
        post(served(model), body, content_type)


def test_a_list_beside_plain_values_is_named() -> None:
    handler = served(DecisionTreeClassifier().fit([[1, 2], [3, 4]], [0, 1]))
    with pytest.raises(BadBodyError, match="row 0 has a list at place 1, beside plain values"):
        post(handler, {"instances": [{"key": 7, "features": [1, 2]}]})


def test_digits_that_could_be_text_are_not_guessed() -> None:
    model = make_pipeline(Codes(), DecisionTreeClassifier()).fit(objects(["007", "12345", "1"] * 3), [0, 1, 2] * 3)
    handler = served(model)
    assert post(handler, [["007"], ["1"]]) == [0, 2]
    with pytest.raises(
        BadBodyError, match=r'the column 0 could be text or a number: row 1 has 007.*"007" for text or 7 for'
    ):
        post(handler, "1\n007\n", "text/csv")
    assert post(served(LinearRegression().fit([[1], [2]], [2, 4])), "007\n", "text/csv") == pytest.approx([14])


@pytest.mark.parametrize("values", [["1", "10", "2"], [1, 10, 2], ["007", "7", "x"]])
def test_categories_behind_code_of_the_models_own_are_a_hint(values: list[Any]) -> None:
    model = make_pipeline(FunctionTransformer(as_text), encoder(), DecisionTreeClassifier())
    handler = served(model.fit(pandas.DataFrame({"zip": values * 3}), [0, 1, 2] * 3))
    assert post(handler, "zip\n" + "\n".join(map(str, values)), "text/csv") == [0, 1, 2]
    assert post(handler, [[value] for value in values]) == [0, 1, 2]
    assert post(handler, f"zip\n{values[1]}\n", "text/csv") == [1]


def as_text(table: Any) -> Any:
    return table.astype(str)


@pytest.mark.parametrize("missing", [None, numpy.nan, ""])
def test_an_empty_cell_is_what_the_imputer_takes_for_missing(missing: Any) -> None:
    imputer = SimpleImputer(missing_values=missing, strategy="constant", fill_value="?")
    values = objects(["red", missing, "blue"] * 3)
    handler = served(make_pipeline(imputer, OneHotEncoder(), DecisionTreeClassifier()).fit(values, [0, 1, 2] * 3))
    assert post(handler, 'red\n""\nblue\n', "text/csv") == [0, 1, 2]
    assert post(handler, [["red"], [None], ["blue"]]) == [0, 1, 2]
    with pytest.raises(BadBodyError, match=r'the column 0 takes one of .* row 1 has "green"'):
        post(handler, [["red"], ["green"]])


SELECTED = pandas.DataFrame({"code": CODES, "size": [0.5, 1.5, 2.5, 0.5, 3.5, 4.5] * 5})
MORE = [
    lambda: OneVsRestClassifier(
        make_pipeline(make_column_transformer((OneHotEncoder(), ["code"])), DecisionTreeClassifier())
    ),
    lambda: make_pipeline(
        make_column_transformer(
            (OrdinalEncoder(), make_column_selector(dtype_exclude="number")), remainder="passthrough"
        ),
        VarianceThreshold(),
        DecisionTreeClassifier(),
    ),
    lambda: make_pipeline(
        make_column_transformer((TargetEncoder(cv=2), ["code"]), remainder=StandardScaler()), DecisionTreeClassifier()
    ),
    lambda: make_pipeline(
        make_column_transformer((OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist"), ["code"])),
        DecisionTreeClassifier(),
    ),
]


@pytest.mark.parametrize("make", MORE)
def test_more_estimators(make: Any) -> None:
    model = make().fit(SELECTED, TARGETS)
    handler, wanted = served(model), model.predict(SELECTED[:6]).tolist()
    assert post(handler, SELECTED[:6].to_csv(index=False), "text/csv") == wanted
    assert post(handler, SELECTED[:6].to_csv(index=False, header=False), "text/csv") == wanted
    assert post(handler, SELECTED[:6].to_json(orient="records")) == wanted


def test_dummies_of_pandas() -> None:
    table = pandas.get_dummies(SELECTED)
    model = RandomForestClassifier(5, random_state=0).fit(table, TARGETS)
    assert post(served(model), table[:6].to_csv(index=False), "text/csv") == model.predict(table[:6]).tolist()
    assert post(served(model), table[:6].to_json(orient="records")) == model.predict(table[:6]).tolist()


TEXTS, SIGNS = ["good, fine", "bad awful"] * 4, ["+", "-"] * 4
ON_TEXTS = [
    lambda: make_pipeline(CountVectorizer(), MultinomialNB()),
    lambda: make_pipeline(TfidfVectorizer(), LogisticRegression()),
    lambda: make_pipeline(HashingVectorizer(n_features=64), LogisticRegression()),
    lambda: make_pipeline(FeatureUnion([("a", CountVectorizer()), ("b", TfidfVectorizer())]), MultinomialNB()),
    lambda: GridSearchCV(make_pipeline(TfidfVectorizer(), MultinomialNB()), {"multinomialnb__alpha": [1]}, cv=2),
    lambda: Pipeline([("nothing", None), ("words", CountVectorizer()), ("bayes", MultinomialNB())]),
    lambda: VotingClassifier([("a", make_pipeline(CountVectorizer(), MultinomialNB()))]),
]
TEXT_BODIES = [
    ("application/json", '["good", "awful, bad"]'),
    ("application/json", '[["good"], ["awful, bad"]]'),
    ("application/json", '[{"text": "good"}, {"text": "awful, bad"}]'),
    ("application/json", '{"instances": ["good", "awful, bad"]}'),
    ("application/json", '{"instances": [{"text": "good"}, {"text": "awful, bad"}]}'),
    ("application/json", '{"inputs": ["good", "awful, bad"]}'),
    ("application/json", '{"inputs": [["good"], ["awful, bad"]], "parameters": {}}'),
    ("application/json", '{"data": {"ndarray": ["good", "awful, bad"]}}'),
    ("application/json", '{"text": ["good", "awful, bad"]}'),
    (
        "application/json",
        '{"inputs": [{"name": "t", "shape": [2, 1], "datatype": "BYTES", "data": ["good", "awful, bad"]}]}',
    ),
    ("application/jsonlines", '"good"\n"awful, bad"\n'),
    ("application/jsonlines", '{"text": "good"}\n{"text": "awful, bad"}\n'),
    ("text/csv", "good\nawful, bad\n"),
    ("text/csv", 'good\n"awful, bad"\n'),
    ("text/csv", "good\r\nawful, bad"),
    ("text/csv", ",text\n0,good\n1,awful bad\n"),
    ("text/csv; header=present", 'text\ngood\n"awful, bad"\n'),
]


@pytest.mark.parametrize("make", ON_TEXTS)
def test_one_text_a_row(make: Any) -> None:
    handler = served(make().fit(TEXTS, SIGNS))
    for content_type, body in TEXT_BODIES:
        assert post(handler, body, content_type) == ["+", "-"], body
    for body in ('{"text": "awful"}', '{"inputs": "awful"}', '{"anything": "awful"}'):
        assert post(handler, body) == {"prediction": "-"}
    assert post(handler, '"awful"') == post(handler, "awful, bad\n", "text/plain") == ["-"]


def test_one_column_of_text_in_a_table() -> None:
    for table, column in ((pandas.DataFrame({"text": TEXTS}), "text"), (objects(TEXTS), 0)):
        features = ColumnTransformer([("words", TfidfVectorizer(), column)])
        handler = served(make_pipeline(features, MultinomialNB()).fit(table, SIGNS))
        for content_type, body in TEXT_BODIES:
            assert post(handler, body, content_type) == ["+", "-"], body
        assert post(handler, '{"inputs": "awful"}') == {"prediction": "-"}
        assert post(handler, "awful, bad", "text/plain") == ["-"]


def test_text_beside_other_columns() -> None:
    table = pandas.DataFrame({"text": TEXTS, "stars": [5, 1] * 4})
    features = make_column_transformer((TfidfVectorizer(), "text"), (StandardScaler(), ["stars"]))
    handler = served(make_pipeline(features, LogisticRegression()).fit(table, SIGNS))
    assert post(handler, 'text,stars\n"123, 4",1\n"good, fine",5\n', "text/csv") == ["-", "+"]
    assert post(handler, [{"text": "bad", "stars": 1}]) == ["-"]
    with pytest.raises(BadBodyError, match="the column 'text' takes text; row 0 has the number 3"):
        post(handler, [{"text": 3, "stars": 1}])
    with pytest.raises(BadBodyError, match="the column 'text' takes text; row 1 has null"):
        post(handler, [{"text": "good", "stars": 1}, {"text": None, "stars": 1}])
    assert post(handler, ",1\n", "text/csv") == post(handler, [{"text": "", "stars": 1}])


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ('[["good", "bad"]]', "application/json", "row 0 has 2 values"),
        ("[1]", "application/json", "row 0 has the number 1"),
        ('["good", null]', "application/json", "row 1 has null"),
        ('good\n"a","b"\n', "text/csv", "line 2 has 2 values"),
        ('"a","b"\n', "text/csv", "row 0 has 2 values"),
        ('{"id": "x", "text": "good"}', "application/json", "row 0 has 2 values"),
    ],
)
def test_what_is_not_one_text(body: str, content_type: str, text: str) -> None:
    handler = served(ON_TEXTS[0]().fit(TEXTS, SIGNS))
    with pytest.raises(BadBodyError) as raised:
        post(handler, body, content_type)
    assert text in str(raised.value)


def test_texts_of_digits() -> None:
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(["007", "42"] * 3, ["bond", "answer"] * 3)
    assert post(served(model), "007\n42\n", "text/csv") == ["bond", "answer"]


def test_objects_of_any_names() -> None:
    model = make_pipeline(DictVectorizer(), DecisionTreeClassifier())
    handler = served(model.fit([{"a": "x", "b": 1}, {"a": "y"}] * 3, [0, 1] * 3))
    assert post(handler, [{"a": "x", "b": 1}, {"a": "y"}]) == [0, 1]
    assert post(handler, {"instances": [{"a": "y"}, {"a": "x", "b": 1}]}) == [1, 0]
    assert post(handler, {"a": "y"}) == {"prediction": 1}
    assert post(handler, "a,b\nx,1\n", "text/csv") == [0]
    with pytest.raises(BadBodyError, match="takes objects of named features; row 0 is"):
        post(handler, [[1]])


def test_requests_of_text_and_of_types_are_batched() -> None:
    text, codes = served(ON_TEXTS[0]().fit(TEXTS, SIGNS)), served(ON_CODES[0]().fit(objects(CODES), TARGETS))
    for handler, bodies, wanted in (
        (text, ["good", '"awful, bad"'], [["+"], ["-"]]),
        (codes, ["007", "7", "08"], [[0], [2], [1]]),
    ):
        for _ in range(2):
            answers = handler.respond_all([HandlerRequest(body.encode(), "text/csv") for body in bodies])
            assert [json.loads(answer.body) for answer in answers] == wanted  # type: ignore[union-attr,arg-type]
        assert handler._verified


def test_features_with_the_names_of_envelopes() -> None:
    table = pandas.DataFrame({"data": [0.5, 1.5, 2.5], "inputs": [1, 2, 3]})
    handler = served(DecisionTreeClassifier().fit(table, [0, 1, 2]))
    assert post(handler, {"data": 1.5, "inputs": 2}) == {"prediction": 1}
    assert post(handler, {"data": [0.5, 2.5], "inputs": [1, 3]}) == [0, 2]
    assert post(handler, {"instances": [{"inputs": 3, "data": 2.5}]}) == [2]
    with pytest.raises(BadBodyError, match=r"without \['inputs'\]"):
        post(handler, {"data": [1.5]})


def test_deep_lists() -> None:
    handler = served(DecisionTreeClassifier().fit([[1, 2], [3, 4]], [0, 1]))
    with pytest.raises(BadBodyError, match=r"expected \[n, 2\], given \[1, 1, 2\]"):
        post(handler, [[[1, 2]]])
    with pytest.raises(BadBodyError, match=r"given \[1, 1, 1, 2\]"):
        post(handler, {"instances": [[[[1, 2]]]]})
