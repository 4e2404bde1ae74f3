"""The search benchmark: its landscapes, its judge against an independent one, and its tables."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
landscapes = pytest.importorskip("landscapes")
report = pytest.importorskip("search_report")


def test_smooth_landscape_follows_the_findings():
    """Halving a dimension costs: vision more than text; embedding more than layers, these more than FFN and heads."""
    found = landscapes.smooth()
    full = found.space.base.dimensions()
    assert found.accuracy[found.space.index(full)] == pytest.approx(landscapes.BASE_ACCURACY)
    half = {n: found.accuracy[found.space.index(full | {n: found.space.values[n][0]})] for n in full}
    for encoder in ("vision", "text"):
        embed, layers, ffn, heads = (half[f"{encoder}.{n}"] for n in ("embed_dim", "layers", "ffn_dim", "heads"))
        assert embed < layers < ffn < heads < landscapes.BASE_ACCURACY
    for name in ("layers", "ffn_dim", "embed_dim", "heads"):
        assert half[f"vision.{name}"] < half[f"text.{name}"]


def test_rugged_landscape_has_many_local_optima_and_the_smooth_one_has_one():
    def local_optima(found):
        grid = found.accuracy.reshape(found.space.shape)
        best = np.ones(grid.shape, dtype=bool)
        for axis in range(grid.ndim):
            rising = np.diff(grid, axis=axis) > 0
            ahead, behind = [(0, 0)] * grid.ndim, [(0, 0)] * grid.ndim
            ahead[axis], behind[axis] = (0, 1), (1, 0)
            best &= ~np.pad(rising, ahead) & np.pad(rising, behind, constant_values=True)
        return int(best.sum())

    assert local_optima(landscapes.smooth()) == 1
    assert local_optima(landscapes.rugged()) > 20


def test_luck_depends_on_model_and_seed_alone():
    found = landscapes.smooth()
    assert found.observe(17, 3) == found.observe(17, 3)
    seen = np.array([found.observe(17, seed) for seed in range(400)]) - found.accuracy[17]
    assert seen.std() == pytest.approx(landscapes.NOISE, rel=0.15)
    assert abs(seen.mean()) < 0.002


def test_a_short_table_of_measured_accuracies_is_refused(tmp_path):
    lines = landscapes.MEASURED.read_text().splitlines()[:51]
    short = tmp_path / "short.csv"
    short.write_text("\n".join(lines) + "\n")
    with pytest.raises(landscapes.TooFewMeasuredError, match=r"50 measured.*measure_landscape\.py"):
        landscapes.embedded(short)


def test_the_table_counts_trials_to_match():
    def run(strategy, shares):
        trials = [{"as_run": s, "trained": s, "seconds": 1.0} for s in shares]
        return {"landscape": "smooth", "mode": "carbon", "strategy": strategy, "trials": trials}

    slow = [run("qnehvi", np.linspace(0.1, 0.92, 100))]
    quick = [run("exact-hardware", np.minimum(np.arange(1, 101) * step, 1.0)) for step in (0.04, 0.05)]
    lines = report.table(slow + quick).splitlines()
    assert "| smooth | carbon | 100.0% | 92.0% | 92.0% | 2, 1 | 21 (19 to 23) |" in lines
    row = next(line for line in reversed(lines) if "exact-hardware" in line)
    assert "| 21 (19 to 23) |" in row.replace(".0", "")  # 0.92 is reached at trial 23 and 19
    assert next(line for line in lines if "qnehvi |" in line).count("92.0%") == 1


def test_the_curves_are_drawn_for_every_landscape_and_mode():
    trials = [{"as_run": share, "seconds": 1.0} for share in np.linspace(0.1, 0.9, 20)]
    runs = [
        {"landscape": "smooth", "mode": mode, "strategy": name, "trials": trials[:length]}
        for mode in ("carbon", "all")
        for name, length in (("sobol", 20), ("sobol", 15), ("qnehvi", 20))
    ]
    picture = report.figure(runs, "svg")
    assert picture == report.figure(runs, "svg")
    for words in ("smooth, carbon", "smooth, all", "sobol (2)", "qnehvi"):
        assert f"<!-- {words} -->".encode() in picture, words


@pytest.mark.parametrize("costs", [[2.0], [2.0, 5.0]])
def test_attainment_surfaces_of_two_runs(costs):
    """Two runs of one design each: the better one is the best surface, the worse one what all attain."""
    pytest.importorskip("moocore")
    worse = [cost + 1 for cost in costs]
    runs = [{"mode": "m", "trials": [{"accuracy": a, "costs": [c]}]} for a, c in ((0.5, costs), (0.4, worse))]
    text = report.attainment(runs, lambda _, trial: trial["costs"])
    if len(costs) == 1:
        assert "| the best run | 0.5000 | 2 |" in text
        assert "| all runs | 0.4000 | 3 |" in text
    else:
        assert text.count("| 0.4000 | 6 | 2 | 2 | 3 |") == 1  # half of two runs is one


def test_attainment_of_nothing_says_so():
    pytest.importorskip("moocore")
    assert report.attainment([], lambda _, trial: trial["costs"]) == "no results of that name"


def test_attainment_that_not_all_runs_have_a_part_in_says_so():
    pytest.importorskip("moocore")
    runs = [{"mode": "m", "trials": [{"accuracy": 0.5, "costs": costs}]} for costs in ([[2.0]], [])]
    assert "1 of 2 runs brought no design" in report.attainment(runs, lambda _, trial: trial["costs"])


def test_the_quicker_functions_are_those_of_botorch():
    """Sums with infinities, and the areas of cells without end and of cells that are none."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("botorch")
    quicker = pytest.importorskip("quicker_logei")
    from botorch.utils import safe_math

    torch.manual_seed(0)
    log = torch.randn(7, 5, dtype=torch.float64) * 30
    log[0, :3], log[1], nothing = -torch.inf, -torch.inf, torch.full((7, 5), -torch.inf, dtype=torch.float64)
    for one, usual in (
        (quicker.logsumexp(log, dim=-1), safe_math.logsumexp(log, dim=-1)),
        (quicker.logsumexp(log[:, :1], dim=-1), safe_math.logsumexp(log[:, :1], dim=-1)),
        (quicker.logmeanexp(log, dim=0), safe_math.logmeanexp(log, dim=0)),
        (quicker.logplusexp(log, log.flip(1)), safe_math.logplusexp(log, log.flip(1))),
        (quicker.logplusexp(nothing, log), safe_math.logplusexp(nothing, log)),
        (quicker.logdiffexp(nothing, log), safe_math.logdiffexp(nothing, log)),
    ):
        torch.testing.assert_close(one, usual)
    quicker.quicker()
    try:
        if not quicker.logei._try_load_fused_kernel() and quicker.logei._C is None:
            pytest.skip("BoTorch's kernel cannot be compiled here")
        if quicker.logei._FusedLogAreas is quicker.FUSED:
            pytest.skip("the quicker kernel cannot be compiled here")
        lower = torch.randn(8, 1, 30, 3, dtype=torch.float64)
        upper = lower + torch.rand_like(lower)
        upper[:, :, 3], upper[:, :, 5] = torch.inf, lower[:, :, 5]
        points = torch.randn(8, 4, 1, 1, 3, dtype=torch.float64) * 2
        args = points, lower.expand(8, 4, 30, 3), upper.expand(8, 4, 30, 3)
        for relu, most in ((1e-6, 1e-2), (1e-2, 0.1)):
            usual, one = quicker.FUSED.apply(*args, relu, most), quicker.QuickerAreas.apply(*args, relu, most)
            assert bool((one[:, :, 5] < -1e29).all())  # a cell that is none: the logarithm of nothing
            keep = usual > -1e29
            torch.testing.assert_close(one[keep], usual[keep], rtol=1e-10, atol=1e-10)
            assert int(keep.sum()) == 8 * 4 * 29
    finally:
        quicker.usual()


def processes(torch, noises):
    """A model list of fitted-looking Gaussian processes of 12 points in 3 dimensions; noise None is inferred."""
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.transforms import Normalize

    inputs = torch.rand(12, 3, dtype=torch.float64) * 5
    models = [
        SingleTaskGP(
            inputs,
            torch.randn(12, 1, dtype=torch.float64),
            train_Yvar=None if noise is None else torch.full((12, 1), noise, dtype=torch.float64),
            outcome_transform=None,
            input_transform=Normalize(3),
        )
        for noise in noises
    ]
    return inputs, ModelListGP(*models)


def likelihood(noise):
    """The module of closed forms, and the marginal likelihood of one of these processes, about to be fitted."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("botorch")
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.manual_seed(0)
    _, models = processes(torch, [noise])
    mll = ExactMarginalLogLikelihood(models.models[0].likelihood, models.models[0])
    return pytest.importorskip("quicker_fits"), mll.train()


@pytest.mark.parametrize("noise", [None, 0.0, 0.01])
def test_fits_in_closed_form_have_the_loss_and_the_gradient_of_botorch(noise):
    quicker, mll = likelihood(noise)
    from botorch.optim.closures.core import NdarrayOptimizationClosure

    parameters = dict(mll.named_parameters())
    assert len(parameters) == (3 if noise is None else 2)
    found = quicker.closure(mll, parameters)
    assert type(found) is quicker.ClosedForm
    own = NdarrayOptimizationClosure(quicker.get_loss_closure_with_grads(mll, parameters), parameters)
    start = own.state
    for shift in (0.5, 1.0, 2.0):
        (value, gradient), (expected, slope) = found(start * shift + 0.1), own(start * shift + 0.1)
        assert value == pytest.approx(float(expected), rel=1e-10)
        np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-9)


def test_a_matrix_that_cannot_be_factorised_is_left_to_botorch(monkeypatch):
    quicker, mll = likelihood(None)
    found = quicker.closure(mll, dict(mll.named_parameters()))
    value, gradient = found(found.state)
    monkeypatch.setattr(quicker, "dpotrf", lambda matrix, **_: (matrix, 3))
    expected, slope = found(found.state)
    assert value == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-12)


def test_fits_of_other_models_are_left_to_botorch():
    torch = pytest.importorskip("torch")
    pytest.importorskip("botorch")
    quicker = pytest.importorskip("quicker_fits")
    from botorch.models import SingleTaskGP
    from gpytorch.kernels import MaternKernel, RBFKernel, ScaleKernel
    from gpytorch.mlls import ExactMarginalLogLikelihood
    from gpytorch.priors import LogNormalPrior

    inputs, outcomes = torch.rand(5, 2, dtype=torch.float64), torch.rand(5, 1, dtype=torch.float64)
    model = SingleTaskGP(inputs, outcomes, covar_module=ScaleKernel(MaternKernel()), outcome_transform=None)
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    assert type(quicker.closure(mll, dict(mll.named_parameters()))) is not quicker.ClosedForm
    known = SingleTaskGP(inputs, outcomes, outcome_transform=None)
    mll = ExactMarginalLogLikelihood(known.likelihood, known)
    parameters = dict(mll.named_parameters())
    assert type(quicker.closure(mll, parameters)) is quicker.ClosedForm
    some = {name: one for name, one in parameters.items() if "noise" not in name}
    assert type(quicker.closure(mll, some)) is not quicker.ClosedForm
    known.mean_module.register_prior("about", LogNormalPrior(0.0, 1.0), "constant")
    assert type(quicker.closure(mll, parameters)) is not quicker.ClosedForm
    single = SingleTaskGP(inputs.float(), outcomes.float(), outcome_transform=None)
    mll = ExactMarginalLogLikelihood(single.likelihood, single)
    assert type(quicker.closure(mll, dict(mll.named_parameters()))) is not quicker.ClosedForm
    shared = SingleTaskGP(inputs, outcomes, covar_module=RBFKernel().double(), outcome_transform=None)
    mll = ExactMarginalLogLikelihood(shared.likelihood, shared)
    assert type(quicker.closure(mll, dict(mll.named_parameters()))) is not quicker.ClosedForm


def acquisition(torch, quicker, **also):
    """qLogNEHVI over two processes, one noisy and one not; and six candidates."""
    from botorch.sampling import SobolQMCNormalSampler

    torch.manual_seed(0)
    inputs, models = processes(torch, [None, 0.0])
    found = quicker.Acquisition(
        model=models,
        ref_point=[-2.0, -2.0],
        X_baseline=inputs,
        sampler=SobolQMCNormalSampler(torch.Size([16]), seed=0),
        prune_baseline=True,
        **also,
    )
    return found, torch.rand(6, 1, 3, dtype=torch.float64) * 5


def both(torch, quicker, made, candidates):
    """Samples row by row and BoTorch's, and whether BoTorch was asked for the first."""
    asked = []
    own = quicker.OWN
    quicker.OWN = lambda *args: asked.append(1) or own(*args)
    try:
        with torch.no_grad():
            found, same = quicker.samples(made, candidates)
    finally:
        quicker.OWN = own
    assert same.shape[0] == candidates.shape[0]
    with torch.no_grad():
        expected, _ = own(made, candidates)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    return bool(asked)


def test_samples_row_by_row_are_those_of_the_joint_posterior():
    torch = pytest.importorskip("torch")
    pytest.importorskip("botorch")
    quicker = pytest.importorskip("quicker_samples")
    made, candidates = acquisition(torch, quicker)
    assert not both(torch, quicker, made, candidates)  # it sets the sampler itself
    kept = quicker.rows_of(made)
    assert quicker.rows_of(made) is kept
    made.sampler.base_samples = made.sampler.base_samples + 1.0
    assert quicker.rows_of(made) is not kept
    assert not both(torch, quicker, made, candidates)
    assert both(torch, quicker, made, candidates.expand(6, 2, 3) + torch.tensor([[0.0], [1.0]]))  # pairs are BoTorch's
    sloped = candidates.clone().requires_grad_()
    assert quicker.samples(made, sloped)[0].requires_grad


def test_samples_with_pending_points():
    """Those that BoTorch has taken among the points found so far change nothing; the others are left to it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("botorch")
    quicker = pytest.importorskip("quicker_samples")
    pending = torch.rand(2, 3, dtype=torch.float64) * 5
    made, candidates = acquisition(torch, quicker)
    before = len(made.X_baseline)
    made.set_X_pending(pending)
    assert len(made.X_baseline) == before + 2
    assert not both(torch, quicker, made, candidates)
    made, candidates = acquisition(torch, quicker, max_iep=3)
    made.set_X_pending(pending)
    assert len(made.X_baseline) == before
    assert both(torch, quicker, made, candidates)


def test_samples_that_cannot_be_drawn_row_by_row_are_left_to_botorch(monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("botorch")
    quicker = pytest.importorskip("quicker_samples")
    made, candidates = acquisition(torch, quicker)
    rows = quicker.Rows.samples

    def fails(*_):
        raise quicker.NotPSDError

    for broken in (fails, lambda *args: rows(*args) * torch.nan):
        monkeypatch.setattr(quicker.Rows, "samples", broken)
        assert both(torch, quicker, made, candidates)


def test_replayed_trials_bring_the_same_data():
    pytest.importorskip("ax")
    quicker = pytest.importorskip("quicker_ax")
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    def client():
        made = Client(random_seed=0)
        made.configure_experiment([RangeParameterConfig(name="x", parameter_type="int", bounds=(0, 9))])
        made.configure_optimization(objective="accuracy, -carbon")
        for x in range(4):
            trial = made.attach_trial({"x": x})
            made.complete_trial(trial, raw_data={"accuracy": 0.5 + x, "carbon": (1.0 * x, 0.0)})
        return made._experiment

    usual = client()
    quicker.quicker()
    try:
        same = client()
    finally:
        quicker.usual()
    assert Client.complete_trial is quicker.COMPLETE
    pd = pytest.importorskip("pandas")
    pd.testing.assert_frame_equal(usual.lookup_data().df, same.lookup_data().df)
    assert [one.status for one in same.trials.values()] == [one.status for one in usual.trials.values()]
