"""Posterior samples at a candidate without the covariances that are known already: a third of Ax's time in these runs.

For each candidate that qLogNEHVI looks at BoTorch works out the joint posterior of the candidate and of all points
found so far, though only the candidate's row of it is new (its source says so: "TODO: Improve the efficiency by not
re-computing the X_baseline-X_baseline covariance matrix"). `quicker()` has it work out only that row, in closed form,
where candidates come one at a time and without gradients, all pending points are among those found so far, and the
models are those of `quicker_fits.py`. The samples are the same up to rounding: to 1e-9 where a candidate is new; where
it is one of the points found so far little but rounding is left of its variance, and they differ by up to 1e-3. All
else is left to BoTorch.

Reference: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equations 2.23 and 2.24.
"""

from __future__ import annotations

from typing import Any

import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement as Acquisition
from botorch.models import ModelListGP
from botorch.models.transforms import Normalize
from botorch.utils.low_rank import _reshape_base_samples
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.cholesky import psd_safe_cholesky
from linear_operator.utils.errors import NanError, NotPSDError
from quicker_fits import is_usual
from torch import Tensor

OWN = Acquisition._compute_posterior_samples_and_concat_pending


class Rows:
    """The rows that candidates add to the joint posterior of the points found so far, for m independent outcomes.

    Args:
        acquisition: with its sampler set and its points found so far, (k, d).
    """

    def __init__(self, acquisition: Any) -> None:
        found, self._factor = acquisition.X_baseline, acquisition._baseline_L  # (k, d), (m, k, k)
        self._known = known(acquisition)
        posterior = acquisition.model.posterior(found.new_zeros(1, found.shape[0] + 1, found.shape[1]))
        draws = _reshape_base_samples(acquisition.sampler.base_samples, acquisition.sampler.sample_shape, posterior)
        self._draws = draws[0]  # (m, k + 1, samples)
        self._outcomes = [Outcome(model, found) for model in acquisition.model.models]

    def hold(self, acquisition: Any) -> bool:
        """Whether what they were worked out from is still what the acquisition function has."""
        return all(one is other for one, other in zip(self._known, known(acquisition), strict=True))

    def samples(self, candidates: Tensor) -> Tensor:
        """Of candidates (n, d): (samples, n, 1, m)."""
        rows = [outcome.row(candidates) for outcome in self._outcomes]
        means, variances, covariances = (torch.stack(part) for part in zip(*rows, strict=True))  # (m, n), …, (m, n, k)
        across = torch.linalg.solve_triangular(self._factor, covariances.mT, upper=False).mT
        left = variances - across.square().sum(-1)
        spread = psd_safe_cholesky(left[..., None, None], max_tries=6)[..., 0, 0]  # BoTorch's way if it is not above 0
        drawn = across @ self._draws[:, :-1] + spread[..., None] * self._draws[:, -1:] + means[..., None]
        return drawn.permute(2, 1, 0)[:, :, None].contiguous()


class Outcome:
    """One Gaussian process: what its mean and covariances at new points need, worked out once."""

    def __init__(self, model: Any, found: Tensor) -> None:
        self._model, self._lengths = model, model.covar_module.lengthscale[0]
        self._constant = model.mean_module.constant
        points = model.train_inputs[0] / self._lengths
        noisy = _near(points, points).diagonal_scatter(1.0 + model.likelihood.noise.expand(len(points)))
        self._factor = psd_safe_cholesky(noisy)
        away = (model.train_targets - self._constant)[:, None]
        self._weights = torch.cholesky_solve(away, self._factor)[:, 0]
        self._found = self._scaled(found)
        self._between = torch.cholesky_solve(_near(points, self._found), self._factor)  # (trials, k)
        self._points = points

    def row(self, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (n,), variance (n,) and covariance with the points found so far (n, k)."""
        new = self._scaled(candidates)
        near = _near(new, self._points)
        known = torch.linalg.solve_triangular(self._factor, near.mT, upper=False)
        mean = self._constant + near @ self._weights
        return mean, 1.0 - known.square().sum(0), _near(new, self._found) - near @ self._between

    def _scaled(self, points: Tensor) -> Tensor:
        return self._model.transform_inputs(points) / self._lengths


def _near(a: Tensor, b: Tensor) -> Tensor:
    """The squared-exponential kernel of points (n, d) and (k, d), in units of the length scales."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square_().mul_(-0.5).exp_()


def known(acquisition: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What the rows are worked out from."""
    return acquisition.X_baseline, acquisition._baseline_L, acquisition.sampler.base_samples


def rows_of(acquisition: Any) -> Rows:
    """The rows of an acquisition function, kept with it."""
    kept = acquisition.__dict__.get("_rows")
    if kept is None or not kept.hold(acquisition):
        kept = acquisition.__dict__["_rows"] = Rows(acquisition)
    return kept


def samples(self: Any, X: Tensor) -> tuple[Tensor, Tensor]:
    """In the place of the method of BoTorch that draws samples at candidates (n, 1, d)."""
    if not _is_usual(self, X):
        return OWN(self, X)
    with torch.no_grad():
        if self.q_in != 1:
            self._set_sampler(1, self.model.posterior(torch.cat([self.X_baseline, X[0]])[None]))
        try:
            found = rows_of(self).samples(X[:, 0])
        except (NanError, NotPSDError):  # BoTorch then samples from the whole joint posterior
            return OWN(self, X)
        return (found, X) if bool(torch.isfinite(found).all()) else OWN(self, X)


def _nothing_pending(acquisition: Any) -> bool:
    """Whether there are no pending points, or all of them are among the points found so far."""
    pending = acquisition.X_pending
    if pending is None:
        return True
    with_pending, without = len(acquisition.X_baseline), len(acquisition._X_baseline)
    return bool(acquisition.cache_pending) and len(pending) + without == with_pending


def _is_usual(acquisition: Any, candidates: Tensor) -> bool:
    model = acquisition.model
    return (
        candidates.ndim == 3
        and candidates.shape[1] == 1
        and not candidates.requires_grad
        and _nothing_pending(acquisition)
        and acquisition._cache_root
        and getattr(acquisition, "_baseline_L", None) is not None
        and acquisition.base_sampler is not None
        and type(model) is ModelListGP
        and all(
            is_usual(mll, dict(mll.named_parameters()))
            and not one.training
            and type(getattr(one, "input_transform", None)) in (type(None), Normalize)
            and getattr(one, "outcome_transform", None) is None
            for one in model.models
            for mll in [ExactMarginalLogLikelihood(one.likelihood, one)]
        )
    )


def quicker() -> None:
    """Have qLogNEHVI use it, in this process."""
    Acquisition._compute_posterior_samples_and_concat_pending = samples


def usual() -> None:
    """Have it draw samples as it does by itself again."""
    Acquisition._compute_posterior_samples_and_concat_pending = OWN
