"""Does structure help the accuracy model? Held-out errors on the really measured accuracies of the embedded study.

The search learns logit(accuracy) with a Gaussian process of constant mean (`search/strategies/surrogate.py`). One may
give it a trend, on the ground that larger models are better: a line in the logarithm of the parameter count, or in all
dimensions, fitted by ridge regression, with the process on what is left. Trained on 8, 15, 25 and 50 models drawn at
random from `data/embedded_landscape.csv`, each predicts the accuracy of all others. Printed are the root mean square
error in points of recall@1 and the mean negative log predictive density of the logit, means over the draws.

    .venv/bin/python benchmarks/accuracy_model.py            # minutes; writes results/accuracy_model.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from landscapes import embedded
from scipy.special import expit

from catransformers.search.space import FloatArray
from catransformers.search.strategies.surrogate import fit, to_logit
from catransformers.workloads import families

OUT = Path(__file__).parent / "results" / "accuracy_model.json"
TRAINED_ON = (8, 15, 25, 50)


def trends(points: FloatArray, parameters: FloatArray) -> dict[str, FloatArray]:
    """The features of each mean, (models, features)."""
    log = np.log(parameters)
    return {
        "constant": np.empty((len(points), 0)),
        "log parameters": ((log - log.mean()) / log.std())[:, None],
        "all dimensions": points - points.mean(axis=0),
    }


def errors(points: FloatArray, accuracy: FloatArray, features: FloatArray, known: FloatArray) -> tuple[float, float]:
    """Root mean square error of accuracy and negative log density of the logit, of the models that are not `known`."""
    values, rest = to_logit(accuracy), np.setdiff1d(np.arange(accuracy.size), known)
    centred = features - features[known].mean(axis=0)
    gram = centred[known].T @ centred[known] + np.eye(features.shape[1])
    trend = centred @ np.linalg.solve(gram, centred[known].T @ (values[known] - values[known].mean()))
    model = fit(points[known], expit(values[known] - trend[known]), seed=0)
    mean, deviation = model.predict(points[rest])
    mean, variance = mean + trend[rest], deviation**2 + model.noise * model.scale**2
    density = 0.5 * np.log(2 * np.pi * variance) + (values[rest] - mean) ** 2 / (2 * variance)
    return float(np.sqrt(np.mean((expit(mean) - accuracy[rest]) ** 2))), float(density.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20, help="random training sets of each size (default 20)")
    args = parser.parse_args()
    landscape = embedded()
    chosen = np.flatnonzero(landscape.known)
    points, accuracy = landscape.space.unit(chosen), landscape.accuracy[chosen]
    parameters = np.array([families.parameters(landscape.space.spec(int(k))) for k in chosen], dtype=np.float64)
    rng = np.random.default_rng(0)
    draws = [rng.permutation(chosen.size) for _ in range(args.draws)]
    rows = []
    print(f"{chosen.size} measured models, {args.draws} draws\n")
    print("| trained on | mean | RMSE, points | NLPD |\n|---|---|---|---|")
    for size in TRAINED_ON:
        for name, features in trends(points, parameters).items():
            found = np.mean([errors(points, accuracy, features, draw[:size]) for draw in draws], axis=0)
            rows.append({"trained_on": size, "mean": name, "rmse": round(found[0], 5), "nlpd": round(found[1], 4)})
            print(f"| {size} | {name} | {100 * found[0]:.1f} | {found[1]:.2f} |", flush=True)
    OUT.write_text(json.dumps({"models": int(chosen.size), "draws": args.draws, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
