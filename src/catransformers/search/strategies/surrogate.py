"""What is learnt: logit(accuracy) over the model's dimensions, by a Gaussian process.

Matérn-5/2 with a length scale for every dimension (each scaled to 0 … 1), constant mean, one noise level inferred from
the data. The noise is inferred, not taken from the trials' standard errors: those measure the luck of the validation
pool, which all trials share and which therefore does not scatter them; what does is the luck of the fine-tune.

Length scales have BoTorch's dimension-scaled log-normal priors (Hvarfner, Hellsten and Nardi, 2024), the fit is
maximum a posteriori. Prediction is written out (Rasmussen & Williams, 2006, equations 2.25 and 2.26), for all models
of a space at once and in chunks, without the joint covariance that the libraries would build. Chunks are shared out to
all cores; each is one thread's, so that its sums have one order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import cpu_count
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logit

from catransformers.errors import CatransformersWarning
from catransformers.lazy import lazy
from catransformers.search.space import FloatArray

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

errors = lazy("botorch.exceptions.errors")
fitting = lazy("botorch.fit")
mlls = lazy("gpytorch.mlls")
models = lazy("botorch.models")
modules = lazy("botorch.models.utils.gpytorch_modules")

CHUNK = 1 << 13  # models predicted in one pass of one thread
LEAST_ACCURACY = 1e-3  # accuracies are kept this far from 0 and 1, whose logits are infinite


def to_logit(accuracy: FloatArray) -> FloatArray:
    """logit(accuracy), with 0 and 1 brought in to where a pool of a thousand cannot tell the difference."""
    return np.asarray(logit(np.clip(accuracy, LEAST_ACCURACY, 1 - LEAST_ACCURACY)), dtype=np.float64)


@dataclass(frozen=True)
class AccuracyModel:
    """A fitted Gaussian process; made by `fit`.

    Args:
        kernel: the fitted covariance on scaled dimensions (unit variance).
        noise: variance of the noise, of standardised outcomes.
        constant: the mean, standardised.
        centre: subtracted from logits to standardise them.
        scale: what they are divided by.
        points: (n, d) observed models, scaled dimensions.
        values: (n,) standardised logits observed there.
    """

    kernel: Any
    noise: float
    constant: float
    centre: float
    scale: float
    points: FloatArray
    values: FloatArray

    def predict(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation of logit accuracy, without noise: (m,) and (m,) at `points` (m, d)."""
        with one_thread(), torch.no_grad():
            scale = self.kernel.lengthscale.double().reshape(1, -1)
            known = torch.as_tensor(self.points, dtype=torch.float64) / scale
            covariance = _matern(known, known) + self.noise * torch.eye(len(known), dtype=torch.float64)
            factor = torch.linalg.cholesky(covariance)
            residual = torch.as_tensor(self.values - self.constant, dtype=torch.float64)[:, None]
            weights = torch.cholesky_solve(residual, factor)
            whiten = torch.linalg.solve_triangular(factor, torch.eye(len(known), dtype=torch.float64), upper=False).T
            mean, deviation = np.empty(len(points)), np.empty(len(points))

            def part(start: int) -> None:
                torch.set_num_threads(1)  # sums have one order, whatever machine
                chosen = slice(start, start + CHUNK)
                with torch.no_grad():
                    cross = _matern(torch.as_tensor(points[chosen], dtype=torch.float64) / scale, known)
                    mean[chosen] = (cross @ weights)[:, 0].numpy() + self.constant
                    explained = (cross @ whiten).square_().sum(dim=1)
                    deviation[chosen] = (1 - explained).clamp_min_(1e-10).sqrt_().numpy()

            starts = range(0, len(points), CHUNK)
            if len(starts) <= 1:
                for start in starts:
                    part(start)
            else:
                with ThreadPoolExecutor(min(len(starts), cpu_count() or 1)) as pool:
                    list(pool.map(part, starts))
        return mean * self.scale + self.centre, deviation * self.scale

    def believing(self, points: FloatArray) -> AccuracyModel:
        """This model as if its own predictions had been observed at `points` (kriging believer)."""
        if not len(points):
            return self
        mean, _ = self.predict(points)
        return replace(
            self,
            points=np.concatenate([self.points, points]),
            values=np.concatenate([self.values, (mean - self.centre) / self.scale]),
        )


def _matern(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Matérn-5/2 of unit variance between points in units of the length scales: (n, d), (m, d) → (n, m).

    Reference: Rasmussen & Williams (2006), equation 4.17.
    """
    squares = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1)
    distance = torch.addmm(squares, one, other.T, alpha=-2).clamp_min_(0).mul_(5).sqrt_()
    near = distance.neg().exp_()
    return (distance.square().div_(3).add_(distance).add_(1)).mul_(near)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch uses one thread, so that sums have one order and results are the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(points: FloatArray, accuracy: FloatArray, seed: int) -> AccuracyModel:
    """Fit the process to observed accuracies.

    Args:
        points: (n, d) scaled dimensions, n ≥ 1.
        accuracy: (n,) in 0 … 1.
        seed: of the restarts that follow a failed fit.

    Warns:
        CatransformersWarning: if the optimiser fails; the prior's typical hyperparameters are then used.
    """
    logits = to_logit(accuracy)
    centre = float(logits.mean())
    scale = float(logits.std(ddof=1)) if len(logits) > 1 else 1.0
    scale = scale if scale > 1e-6 else 1.0
    values = (logits - centre) / scale
    with one_thread(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BoTorch's advice about float64 scaling: the data are standardised above
        torch.manual_seed(seed)

        def fresh() -> Any:
            return models.SingleTaskGP(
                torch.as_tensor(points, dtype=torch.float64),
                torch.as_tensor(values, dtype=torch.float64)[:, None],
                likelihood=modules.get_gaussian_likelihood_with_lognormal_prior(),
                covar_module=modules.get_covar_module_with_dim_scaled_prior(
                    ard_num_dims=points.shape[1], use_rbf_kernel=False
                ),
                outcome_transform=None,
            )

        model, failure = fresh(), None
        try:
            fitting.fit_gpytorch_mll(mlls.ExactMarginalLogLikelihood(model.likelihood, model))
        except errors.ModelFittingError as error:
            model, failure = fresh(), error
        model.eval()
    if failure is not None:
        warnings.warn(
            CatransformersWarning(f"the accuracy model could not be fitted ({failure}); using typical length scales"),
            stacklevel=2,
        )
    return AccuracyModel(
        kernel=model.covar_module,
        noise=float(model.likelihood.noise.detach()),
        constant=float(model.mean_module.constant.detach()),
        centre=centre,
        scale=scale,
        points=np.asarray(points, dtype=np.float64),
        values=values,
    )
