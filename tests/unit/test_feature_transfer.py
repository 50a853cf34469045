"""Feature transfer: whose adapter the rows pass through, what is subtracted, and the measures that judge features."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptershare_cli.data.batches import make_batch
from adaptershare_cli.errors import UserError
from adaptershare_cli.measures import MEASURES, measure_settings
from adaptershare_cli.measures.adapter_size import adapter_size
from adaptershare_cli.measures.base import Cost, Measurement, Scope
from adaptershare_cli.measures.features import FeatureSettings, ask, feature_transfer
from adaptershare_cli.measures.needs import TunedModels
from adaptershare_cli.measures.settings import TunedSettings
from adaptershare_cli.model.adapters.bank import no_adapter
from adaptershare_cli.model.encoder import pool
from adaptershare_cli.observe.features import answer_features
from tests.core import MIXED, build_method, info_of, random_parts, random_rows, scramble

TASKS = ("first", "score", "tags")
SCOPE = Scope(TASKS, seeds=(0, 1))
OF_FEATURES = [name for name, spec in MEASURES.items() if issubclass(spec.settings, FeatureSettings)]


@pytest.fixture(scope="module")
def models(encoder: Path) -> TunedModels:
    """Adapters of random values under the private plan."""
    parts = random_parts(TASKS)

    def tuned(seed: int):
        model = build_method(encoder, "private", parts)[0].model
        scramble(model.bank.parameters(), seed + 1)
        return model

    def fresh(seed: int):
        return build_method(encoder, "private", parts)[0].model

    return TunedModels(tuned, fresh, {task: part.train for task, part in parts.items()})


def by_pair(found: Measurement, **where) -> dict[tuple[str, str], float]:
    values = found.values
    for column, value in where.items():
        values = values[values[column] == value]
    return {(row.source, row.target): row.value for row in values.itertuples()}


class TestFeatures:
    def test_pooled_states_one_row_at_a_time(self, models: TunedModels):
        model, rows = models.tuned(0), models.rows["first"]
        for source in ("score", None):
            found = answer_features(model, "first", rows, 0, source)
            for row in (0, 7, 33):
                batch = make_batch("first", rows, np.array([row]), 0)
                with torch.no_grad(), model.bank.active(source) if source else no_adapter():
                    hidden = model.encode(batch.inputs)
                expected = pool(hidden, batch.inputs["attention_mask"], "mean")[0]
                np.testing.assert_allclose(found[row], expected.numpy(), atol=1e-5)

    def test_a_word_has_the_state_of_its_first_token(self, models: TunedModels):
        model, rows = models.tuned(0), models.rows["tags"]
        found = answer_features(model, "tags", rows, 0, "first")
        assert len(found) == len(rows.answers)
        batch = make_batch("tags", rows, np.array([5]), 0)
        with torch.no_grad(), model.bank.active("first"):
            hidden = model.encode(batch.inputs)[0]
        answers = rows.answers.of_rows(np.array([5]))
        np.testing.assert_allclose(found[answers], hidden[rows.answers.tokens[answers]].numpy(), atol=1e-5)

    def test_layers(self, models: TunedModels):
        model, rows = models.tuned(0), models.rows["first"]
        last, embeddings = (answer_features(model, "first", rows, 0, "score", layer) for layer in (2, 0))
        np.testing.assert_array_equal(last, answer_features(model, "first", rows, 0, "score"))
        np.testing.assert_array_equal(embeddings, answer_features(model, "first", rows, 0, None, 0))
        with pytest.raises(ValueError, match="layers 0 to 2"):
            answer_features(model, "first", rows, 0, None, 3)


class TestTransfer:
    def test_values_are_gains_over_the_bare_encoder(self, models: TunedModels):
        """With the first feature of the first answer as quality."""
        found = feature_transfer(
            models, SCOPE, FeatureSettings(samples=9), lambda question, bare: lambda features: float(features[0, 0])
        )
        assert found.cost == Cost(9 * 3 * (2 * 2 + 1)) and len(found.values) == 2 * 6
        for seed in SCOPE.seeds:
            model, values = models.tuned(seed), by_pair(found, seed=seed)
            for source, target in itertools.permutations(TASKS, 2):
                rows = ask_rows(models, target)
                through, bare = (answer_features(model, target, rows, 0, s)[0, 0] for s in (source, None))
                assert values[source, target] == pytest.approx(through - bare, abs=1e-6)

    def test_each_layer_and_their_mean(self, models: TunedModels):
        settings = FeatureSettings(samples=9, probe_layer="2,0")
        found = feature_transfer(models, SCOPE, settings, lambda question, bare: lambda features: features.std())
        layers = {layer: by_pair(found, seed=1, layer=layer) for layer in (-1, 0, 2)}
        assert set(layers[0].values()) == {0}  # embeddings come before all adapters
        for pair, value in layers[-1].items():
            assert value == pytest.approx(layers[2][pair] / 2) and value

    @pytest.mark.parametrize("layers", ["", "last", "1,", "7", "-1"])
    def test_layers_that_are_none(self, models: TunedModels, layers: str):
        with pytest.raises(UserError, match="--probe-layer"):
            feature_transfer(models, SCOPE, FeatureSettings(probe_layer=layers), lambda question, bare: np.mean)

    def test_the_question(self):
        rows = random_rows(info_of("score"), 40, 1)
        rows.content = rows.content[:20] * 2
        question = ask(info_of("score"), rows)
        assert question.columns.shape == (40, 1) and len(set(question.classes)) == 8
        assert question.groups.tolist() == [*range(20)] * 2 and not question.labelled
        words = random_rows(info_of("tags"), 6, 1)
        question = ask(info_of("tags"), words)
        assert question.columns.sum() == len(words.answers) == len(question.groups)
        assert (question.columns.argmax(axis=1) == question.classes).all() and question.labelled


def ask_rows(models: TunedModels, task: str):
    from adaptershare_cli.measures.base import sample_rows

    return sample_rows(models.rows[task], task, 9)


class TestMeasures:
    def test_there_are_five(self):
        assert sorted(OF_FEATURES) == ["h-score", "knn", "logme", "probe", "transrate"]

    @pytest.mark.parametrize("name", [name for name in OF_FEATURES if name != "transrate"])  # (see its formula)
    def test_a_source_whose_adapter_writes_the_label_into_the_features_helps(self, name: str, monkeypatch):
        """Rows of every kind: the features of one source hold the labels; those of the others, and the bare, noise."""
        parts = random_parts(MIXED, rows=100)
        model = type("Model", (), {"infos": {task: info_of(task) for task in MIXED}, "encoder": _Encoder})()
        models = TunedModels(lambda seed: model, lambda seed: model, {t: part.train for t, part in parts.items()})
        scope = Scope(MIXED, seeds=(0,))

        def features(model, task, rows, pad_token, source, layer=None):
            noise = np.random.default_rng(len(source or "")).normal(size=(len(rows.answers), 6))
            if source == MIXED[(MIXED.index(task) + 1) % len(MIXED)]:
                columns = ask(info_of(task), rows).columns
                noise[:, : columns.shape[1]] += 4 * columns / columns.std()
            return noise

        monkeypatch.setattr("adaptershare_cli.observe.features.answer_features", features)
        found = by_pair(MEASURES[name](models, scope, measure_settings([name], {})[name]))
        for number, target in enumerate(MIXED):
            good = MIXED[(number + 1) % len(MIXED)]
            others = [found[source, target] for source in MIXED if source not in (good, target)]
            assert found[good, target] > max(others) and found[good, target] > 0

    def test_loss_of_probes(self, models: TunedModels):
        found = []
        for score in ("metric", "loss"):
            settings = measure_settings(["probe"], {"probe_score": score, "samples": 12})["probe"]
            found.append(by_pair(MEASURES["probe"](models, Scope(TASKS, seeds=(0,)), settings)))
        assert found[0].keys() == found[1].keys() and found[0] != found[1]
        assert np.isfinite(list(found[1].values())).all()

    def test_adapter_size(self, encoder: Path, models: TunedModels):
        moved = build_method(encoder, "private", random_parts(TASKS))[0].model
        with torch.no_grad():
            for _, tensor in moved.bank.named_parameters("score", 1):
                tensor.add_(2.0)
            size = sum(tensor.numel() for _, tensor in moved.bank.named_parameters("score", 1))
        found = adapter_size(TunedModels(lambda seed: moved, models.fresh, {}), SCOPE, TunedSettings())
        values = by_pair(found, seed=0, layer=-1)
        assert values["score", "first"] == pytest.approx(-2 * size**0.5) == values["score", "tags"]
        assert values["first", "score"] == 0 and by_pair(found, seed=1, layer=0)["score", "first"] == 0


class _Encoder:
    class config:
        num_hidden_layers = 2
