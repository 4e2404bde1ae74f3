"""Gaussian processes fitted without automatic differentiation: a quarter of the benchmark's Ax runs is spared.

Ax fits one Gaussian process a metric for each proposal, in hundreds of steps of L-BFGS-B, each with a few dozen
operations of torch and their gradients on matrices of a hundred rows. `quicker()` has BoTorch's fits of the one kind
of model that these runs use (a constant mean, a squared-exponential kernel with a length scale a dimension, log-normal
priors, noise that is known or one number) take the same loss and its gradient from closed form instead: the same
numbers up to rounding, the same optimiser, the same steps. All other models are left to BoTorch.

Reference: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equations 2.30 and 5.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import botorch.optim.fit as fitting
import numpy as np
import torch
from botorch.models import SingleTaskGP
from botorch.optim.closures import ForwardBackwardClosure, get_loss_closure_with_grads
from botorch.optim.closures.core import NdarrayOptimizationClosure
from gpytorch.kernels import RBFKernel
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood, GaussianLikelihood
from gpytorch.means import ConstantMean
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri
from torch import Tensor

Array = NDArray[np.float64]
CONSTANT, LENGTHS = "model.mean_module.raw_constant", "model.covar_module.raw_lengthscale"
NOISE = "likelihood.noise_covar.raw_noise"
PRIORS = {"covar_module.lengthscale_prior": LENGTHS, "likelihood.noise_covar.noise_prior": NOISE}


class ClosedForm(NdarrayOptimizationClosure):
    """The negative log posterior of a model's hyperparameters over its number of points, and its gradient.

    Args:
        mll: of a model for which `is_usual` holds.
        parameters: its parameters to fit, by name.
        closure: BoTorch's own, for a matrix that cannot be factorised as it is.
    """

    def __init__(
        self, mll: ExactMarginalLogLikelihood, parameters: dict[str, Tensor], closure: ForwardBackwardClosure
    ) -> None:
        super().__init__(closure, parameters)
        model = mll.model
        inputs = model.transform_inputs(X=model.train_inputs[0]).detach().numpy()
        self._targets = model.train_targets.detach().numpy()
        self._pairs = np.tril_indices(len(inputs), -1)
        self._squares = (inputs[self._pairs[0]] - inputs[self._pairs[1]]) ** 2  # (pairs, dimensions)
        self._known = None if NOISE in parameters else mll.likelihood.noise.detach().numpy()
        ends = np.cumsum([0, *(one.numel() for one in parameters.values())])
        self._place = {name: slice(*ends[i : i + 2]) for i, name in enumerate(parameters)}
        #: Where each prior looks, its location, twice its variance, log scale: of single precision, as GPyTorch's are.
        self._priors = [
            (
                self._place[PRIORS[name]],
                *(float(one) for one in (prior.loc, 2.0 * prior.scale**2, prior.scale.log())),
            )
            for name, _, prior, _, _ in model.named_priors()
        ]

    def __call__(self, state: Array | None = None, **kwargs: Any) -> tuple[Array, Array]:
        """The loss () and its gradient (parameters,) at a state (parameters,)."""
        at = self.state if state is None else state
        n = len(self._targets)
        lengths = at[self._place[LENGTHS]]
        covariance = np.empty((n, n), order="F")
        near = np.exp(-0.5 * (self._squares @ lengths**-2.0))
        covariance[self._pairs] = near
        diagonal = np.arange(n)
        covariance[diagonal, diagonal] = 1.0 + (at[self._place[NOISE]] if self._known is None else self._known)
        factor, failed = dpotrf(covariance, lower=1, overwrite_a=1)
        if failed:
            return super().__call__(state, **kwargs)
        half_log_determinant = np.log(factor[diagonal, diagonal]).sum()
        lower, _ = dpotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(lower)
        inverse += np.tril(lower, -1).T
        residuals = self._targets - at[self._place[CONSTANT]]
        weights = inverse @ residuals
        value = -0.5 * (residuals @ weights) - half_log_determinant - 0.5 * n * np.log(2.0 * np.pi)
        gradient = np.zeros(len(at))
        gradient[self._place[CONSTANT]] = weights.sum()
        pulls = (weights[self._pairs[0]] * weights[self._pairs[1]] - inverse[self._pairs]) * near
        gradient[self._place[LENGTHS]] = (pulls @ self._squares) / lengths**3
        if self._known is None:
            gradient[self._place[NOISE]] = 0.5 * (weights @ weights - inverse[diagonal, diagonal].sum())
        for place, middle, twice, log_scale in self._priors:
            logs = np.log(at[place])
            away = logs - middle
            value -= (away**2 / twice + log_scale + 0.5 * np.log(2.0 * np.pi) + logs).sum()
            gradient[place] -= (1.0 + 2.0 * away / twice) / at[place]
        return np.asarray(-value / n), -gradient / n


def quicker() -> None:
    """Have BoTorch fit with it, in this process."""
    fitting.get_loss_closure_with_grads = closure


def usual() -> None:
    """Have it fit as it does by itself again."""
    fitting.get_loss_closure_with_grads = get_loss_closure_with_grads


def closure(mll: Any, parameters: dict[str, Tensor], **kwargs: Any) -> Callable[..., Any]:
    """In the place of BoTorch's `get_loss_closure_with_grads`."""
    own = get_loss_closure_with_grads(mll, parameters, **kwargs)
    return ClosedForm(mll, parameters, own) if not kwargs and is_usual(mll, parameters) else own


def is_usual(mll: Any, parameters: dict[str, Tensor]) -> bool:
    """Whether a model is of the one kind whose loss is known here in closed form."""
    model, likelihood = mll.model, mll.likelihood
    if type(mll) is not ExactMarginalLogLikelihood or type(model) is not SingleTaskGP:
        return False
    noisy = type(likelihood) is GaussianLikelihood
    kernel = model.covar_module
    names = {CONSTANT, LENGTHS, NOISE} if noisy else {CONSTANT, LENGTHS}
    return (
        type(kernel) is RBFKernel
        and kernel.active_dims is None
        and type(model.mean_module) is ConstantMean
        and (noisy or (type(likelihood) is FixedNoiseGaussianLikelihood and likelihood.second_noise_covar is None))
        and set(parameters) == names
        and kernel.raw_lengthscale.shape == (1, model.train_inputs[0].shape[-1])
        and model.train_targets.ndim == 1
        and model.train_targets.dtype == torch.float64
        and all(
            name in PRIORS and type(prior) is LogNormalPrior and prior.loc.numel() == prior.scale.numel() == 1
            for name, _, prior, _, _ in model.named_priors()
        )
        and all(limit._transform is None for _, limit in mll.named_constraints())
        and not list(mll.named_added_loss_terms())
    )
