#include <torch/extension.h>
#include <algorithm>
#include <array>
#include <vector>

// Local upper bounds of a front, and the boxes that they cut space into (Lacour, Klamroth and Fonseca, A box
// decomposition algorithm to compute the hypervolume indicator, Computers & Operations Research 79, 2017), for
// minimisation. Nothing is calculated, only compared and copied: the results are those of BoTorch's Python, bit by bit.

namespace {

struct Bounds {
  int64_t m;
  std::vector<double> u, z;  // (bounds, m) upper bounds; (bounds, m, m) the points that define them
  int64_t size() const { return static_cast<int64_t>(u.size()) / m; }
};

void add(Bounds &to, const double *u, const double *z) {
  to.u.insert(to.u.end(), u, u + to.m);
  to.z.insert(to.z.end(), z, z + to.m * to.m);
}

Bounds with_point(const Bounds &known, const double *point) {
  const int64_t m = known.m;
  Bounds kept{m, {}, {}};
  std::vector<int64_t> beaten;
  for (int64_t b = 0; b < known.size(); b++) {
    bool all = true;
    for (int64_t j = 0; j < m; j++) all = all && known.u[b * m + j] > point[j];
    if (all) beaten.push_back(b);
  }
  if (beaten.empty()) return known;
  size_t next = 0;
  for (int64_t b = 0; b < known.size(); b++) {
    if (next < beaten.size() && beaten[next] == b) next++;
    else add(kept, &known.u[b * m], &known.z[b * m * m]);
  }
  for (int64_t j = 0; j < m; j++) {
    for (int64_t b : beaten) {
      const double *z = &known.z[b * m * m];
      bool first = true;
      for (int64_t i = 0; i < m; i++) first = first && (i == j || point[j] >= z[i * m + j]);
      if (!first) continue;
      add(kept, &known.u[b * m], z);
      kept.u[(kept.size() - 1) * m + j] = point[j];
      std::copy(point, point + m, &kept.z[((kept.size() - 1) * m + j) * m]);
    }
  }
  return kept;
}

}  // namespace

// Points (n, m), upper bounds (k, m) and their defining points (k, m, m) -> those after the points were added.
std::array<torch::Tensor, 2> update(torch::Tensor points, torch::Tensor upper, torch::Tensor defining) {
  const auto p = points.contiguous(), u = upper.contiguous(), z = defining.contiguous();
  const int64_t m = p.size(1);
  Bounds bounds{m, {u.data_ptr<double>(), u.data_ptr<double>() + u.numel()},
                {z.data_ptr<double>(), z.data_ptr<double>() + z.numel()}};
  for (int64_t i = 0; i < p.size(0); i++) bounds = with_point(bounds, p.data_ptr<double>() + i * m);
  auto new_u = torch::empty({bounds.size(), m}, u.options()), new_z = torch::empty({bounds.size(), m, m}, u.options());
  std::copy(bounds.u.begin(), bounds.u.end(), new_u.data_ptr<double>());
  std::copy(bounds.z.begin(), bounds.z.end(), new_z.data_ptr<double>());
  return {new_u, new_z};
}

// Defining points (k, m, m), upper bounds (k, m) and the reference (m) -> lower and upper ends of the boxes (2, cells, m).
torch::Tensor boxes(torch::Tensor defining, torch::Tensor upper, torch::Tensor reference) {
  const auto z = defining.contiguous(), u = upper.contiguous(), r = reference.contiguous();
  const int64_t count = u.size(0), m = u.size(1);
  const double *pz = z.data_ptr<double>(), *pu = u.data_ptr<double>();
  std::vector<double> low, high;
  for (int64_t b = 0; b < count; b++) {
    std::vector<double> from(m), to(m);
    bool empty = false;
    for (int64_t j = 0; j < m; j++) {
      from[j] = pz[b * m * m + j];
      for (int64_t i = 1; i < j; i++) from[j] = std::max(from[j], pz[(b * m + i) * m + j]);
      to[j] = j == 0 ? r.data_ptr<double>()[0] : pu[b * m + j];
      empty = empty || to[j] <= from[j];
    }
    if (empty) continue;
    low.insert(low.end(), from.begin(), from.end());
    high.insert(high.end(), to.begin(), to.end());
  }
  auto out = torch::empty({2, static_cast<int64_t>(low.size()) / m, m}, u.options());
  std::copy(low.begin(), low.end(), out.data_ptr<double>());
  std::copy(high.begin(), high.end(), out.data_ptr<double>() + low.size());
  return out;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, mod) {
  mod.def("update", &update, "Local upper bounds after points were added");
  mod.def("boxes", &boxes, "The boxes of local upper bounds");
}
