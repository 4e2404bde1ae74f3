#include <torch/extension.h>
#include <algorithm>
#include <cmath>
#include <vector>

constexpr double FAR = 60;  // exp(-FAR) is nothing beside the tail of the fat softplus there, 0.1 / FAR^2

// Logarithms of the smoothed areas that candidates add to the cells of a box decomposition.
//   points (samples, candidates, m), lower and upper (samples, cells, m) -> (samples, candidates, cells)
torch::Tensor log_areas(torch::Tensor points, torch::Tensor lower, torch::Tensor upper, double relu, double most) {
  const auto p = points.contiguous(), lo = lower.contiguous(), up = upper.contiguous();
  const int64_t samples = p.size(0), candidates = p.size(1), m = p.size(2), cells = lo.size(1);
  auto out = torch::zeros({samples, candidates, cells}, p.options());
  const double *pp = p.data_ptr<double>(), *pl = lo.data_ptr<double>(), *pu = up.data_ptr<double>();
  double *po = out.data_ptr<double>();
  std::vector<double> from(m * cells), length(m * cells), gain(cells), less(cells);
  for (int64_t s = 0; s < samples; s++) {
    for (int64_t c = 0; c < cells; c++) {
      for (int64_t k = 0; k < m; k++) {
        const int64_t at = (s * cells + c) * m + k;
        const double side = std::min(pu[at], 1e10) - pl[at];
        from[k * cells + c] = pl[at];
        length[k * cells + c] = side > 0 ? std::log(side) : -1e30;  // no cell: nothing is added
      }
    }
    for (int64_t t = 0; t < candidates; t++) {
      std::fill(less.begin(), less.end(), 1.0);
      double *row = po + (s * candidates + t) * cells, *d = less.data(), *g = gain.data();
      for (int64_t k = 0; k < m; k++) {
        const double x = pp[(s * candidates + t) * m + k];
        const double *f = &from[k * cells], *l = &length[k * cells];
        int64_t near = 0;
        #pragma omp simd reduction(+ : near)
        for (int64_t c = 0; c < cells; c++) {
          const double y = (x - f[c]) / relu;
          g[c] = std::log(relu * ((y > 0 ? y : 0.0) + 0.1 / (1 + y * y)));  // fat softplus, far from its kink
          near += std::fabs(y) < FAR;
        }
        for (int64_t c = 0; near > 0 && c < cells; c++) {
          const double y = (x - f[c]) / relu, size = std::fabs(y), e = std::exp(-size);
          if (size >= FAR) continue;
          const double tail = size > 20 ? (y > 0 ? 0.0 : e) : std::log(1 + e);
          g[c] = std::log(relu * ((y > 0 ? y : 0.0) + tail + 0.1 / (1 + y * y)));
        }
        #pragma omp simd
        for (int64_t c = 0; c < cells; c++) {
          const double z = std::fabs(g[c] - l[c]) / most;
          row[c] += g[c] < l[c] ? g[c] : l[c];
          d[c] *= 1 + 2 / (2 + 2 * z + z * z);  // of the fat minimum
        }
      }
      #pragma omp simd
      for (int64_t c = 0; c < cells; c++) row[c] -= most * std::log(d[c]);
    }
  }
  return out;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, mod) {
  mod.def("log_areas", &log_areas, "Logarithms of the smoothed areas that candidates add to cells");
}
