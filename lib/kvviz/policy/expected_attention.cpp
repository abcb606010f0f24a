// SPDX-License-Identifier: MIT
#include <Eigen/Dense>
#include <cmath>
#include <span>
#include <vector>

#include "kvviz/kernels/gemm.hpp"
#include "kvviz/policy/held_rows.hpp"
#include "kvviz/policy/table.hpp"

namespace kvviz::policy {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The mean of rotations of a pair of channels: (x, y) becomes (c x - s y, s x + c y).
struct MeanTurn {
  int64_t a = 0, b = 0;  ///< the channels
  double cosine = 0, sine = 0;
};

/// T m with the matrix T of the turns, which has nothing but their blocks of 2 x 2.
template <class M>
void turn_rows(std::span<const MeanTurn> turns, M& m) {
  for (const MeanTurn& turn : turns) {
    const Eigen::RowVectorXd x = m.row(turn.a), y = m.row(turn.b);
    m.row(turn.a) = turn.cosine * x - turn.sine * y;
    m.row(turn.b) = turn.sine * x + turn.cosine * y;
  }
}

/// The queries of one head before RoPE: what was seen, and what it makes of a key.
struct QueryModel {
  Eigen::VectorXd sum;
  Matrix products;      ///< sum of q q^T
  FloatMatrix waiting;  ///< queries that are not in the sums yet
  Eigen::VectorXf linear;
  FloatMatrix quadratic;
  double log_sum = 0;  ///< of e^z over the held keys at the last fit
  double slope = 0;    ///< of ALiBi
};

/// z = scale mu'.k + scale^2 / 2 k^T S' k, the log of the expected e^logit of a Gaussian query turned to the
/// mean of the positions ahead; score = (softmax z + epsilon) |v|. ALiBi adds slope * position of the key to
/// z: where the queries ahead stand is the same factor for every key.
class ExpectedWeight : public Scorer {
 public:
  ExpectedWeight(const RuleContext& context, size_t owner)
      : options_(context.options),
        scale_(static_cast<double>(context.shape.scale)),
        dim_(context.shape.head_dim),
        sinks_(context.splits[owner].sinks),
        rotary_(context.rotary),
        keys_(dim_ + 1) {
    QueryModel model{.sum = Eigen::VectorXd::Zero(dim_), .products = Matrix::Zero(dim_, dim_)};
    model.waiting.resize(of_text(context, options_.refresh), dim_);
    models_.assign(static_cast<size_t>(context.owners[owner].query_heads), model);
    const std::vector<float>& slopes = context.shape.alibi_slopes;
    for (size_t g = 0; g < models_.size() && !slopes.empty(); ++g)
      models_[g].slope =
          static_cast<double>(slopes[static_cast<size_t>(context.owners[owner].first_query_head) + g]);
  }

  void observe(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    keys_.release(step, set, [](const float*) {});
    const kernels::SlotOwner& owner = set.owner();
    float* const row = keys_.add(step.position);
    std::copy_n(step.input.k.at(owner.kv_head, step.row), dim_, row);
    const Eigen::Map<const Eigen::VectorXf> value(step.input.v.at(owner.kv_head, step.row), dim_);
    row[dim_] = static_cast<float>(value.cast<double>().norm());
    if (step.position >= sinks_) {
      const kernels::HeadsView& queries =
          step.input.query_pre_rope.data != nullptr ? step.input.query_pre_rope : step.input.q;
      for (size_t g = 0; g < models_.size(); ++g) {
        models_[g].waiting.row(waiting_) = Eigen::Map<const Eigen::RowVectorXf>(
            queries.at(owner.first_query_head + static_cast<int64_t>(g), step.row), dim_);
      }
      if (++waiting_ == options_.refresh) take_waiting();
    }
    if (fitted_at_ < 0) return;
    double weight = 0;
    for (const QueryModel& model : models_)
      weight += std::exp(log_weight(model, row) + distance_bias(model, step.position) - model.log_sum);
    set.scores().back() = score(weight, row);
  }

  void prepare(const kernels::ScanStep& step, kernels::SlotSet& set) override {
    if (fitted_at_ >= 0 && step.position - fitted_at_ < options_.refresh) return;
    take_waiting();
    if (seen_ == 0) return;
    fitted_at_ = step.position;
    const auto rows = static_cast<size_t>(keys_.rows());
    std::vector<double> weights(rows), z(rows);
    const std::vector<MeanTurn> turns = mean_turns(step.position);
    for (QueryModel& model : models_) {
      fit(model, turns);
      log_weights(model, z);
      for (size_t row = 0; row < rows; ++row) {
        if (held(row)) z[row] += distance_bias(model, keys_.position(static_cast<int64_t>(row)));
      }
      double top = -std::numeric_limits<double>::infinity(), total = 0;
      for (size_t row = 0; row < rows; ++row) {
        if (held(row)) top = std::max(top, z[row]);
      }
      for (size_t row = 0; row < rows; ++row) {
        if (held(row)) total += std::exp(z[row] - top);
      }
      model.log_sum = top + std::log(total);
      for (size_t row = 0; row < rows; ++row) weights[row] += std::exp(z[row] - model.log_sum);
    }
    for (size_t row = 0; row < rows; ++row) {
      if (!held(row)) continue;
      const int64_t column = set.column_of(keys_.position(static_cast<int64_t>(row)));
      set.scores()[static_cast<size_t>(column)] = score(weights[row], key(row));
    }
  }

 private:
  bool held(size_t row) const { return keys_.position(static_cast<int64_t>(row)) >= 0; }
  const float* key(size_t row) const { return keys_.data() + static_cast<int64_t>(row) * (dim_ + 1); }
  double distance_bias(const QueryModel& model, int64_t position) const {
    return model.slope * static_cast<double>(position - fitted_at_);
  }
  double score(double weight, const float* row) const {
    return (weight / static_cast<double>(models_.size()) + options_.epsilon) * static_cast<double>(row[dim_]);
  }

  void take_waiting() {
    for (QueryModel& model : models_) {
      const Matrix rows = model.waiting.topRows(waiting_).cast<double>();
      model.sum += rows.colwise().sum().transpose();
      model.products += rows.transpose() * rows;
    }
    seen_ += waiting_;
    waiting_ = 0;
  }

  void fit(QueryModel& model, std::span<const MeanTurn> turns) const {
    const auto n = static_cast<double>(seen_);
    Eigen::VectorXd mean = model.sum / n;
    Matrix covariance = model.products / n - mean * mean.transpose();
    turn_rows(turns, mean);
    turn_rows(turns, covariance);  // T C T^T, as C is symmetric
    covariance.transposeInPlace();
    turn_rows(turns, covariance);
    model.linear = (scale_ * mean).cast<float>();
    model.quadratic = (scale_ * scale_ / 2 * covariance).cast<float>();
  }

  /// Mean of the rotations to the next `future` positions.
  std::vector<MeanTurn> mean_turns(int64_t position) const {
    std::vector<MeanTurn> turns;
    if (rotary_ == nullptr) return turns;
    const kernels::RotaryTable& table = *rotary_;
    const int64_t begin = std::min(position + 1, table.positions - 1);
    const int64_t end = std::min(begin + options_.future, table.positions);
    for (int64_t p = 0; p < table.pairs; ++p) {
      double cosine = 0, sine = 0;
      for (int64_t at = begin; at < end; ++at) {
        cosine += static_cast<double>(table.cosine[at * table.pairs + p]);
        sine += static_cast<double>(table.sine[at * table.pairs + p]);
      }
      const auto n = static_cast<double>(end - begin);
      const int64_t a = table.interleaved ? 2 * p : p, b = table.interleaved ? 2 * p + 1 : table.pairs + p;
      turns.push_back({a, b, cosine / n, sine / n});
    }
    return turns;
  }

  double log_weight(const QueryModel& model, const float* row) const {
    const Eigen::Map<const Eigen::VectorXf> k(row, dim_);
    return static_cast<double>(k.dot(model.quadratic * k + model.linear));
  }

  void log_weights(const QueryModel& model, std::vector<double>& z) const {
    const auto rows = static_cast<int64_t>(z.size());
    const Eigen::Map<const FloatMatrix, 0, Eigen::OuterStride<>> all(keys_.data(), rows, dim_,
                                                                     Eigen::OuterStride<>(dim_ + 1));
    const FloatMatrix k = all;
    FloatMatrix product(rows, dim_);
    // The quadratic form is symmetric: its transpose, which linear() takes, is itself.
    kernels::linear(k.data(), model.quadratic.data(), model.linear.data(), product.data(), rows, dim_, dim_,
                    dim_);
    const Eigen::VectorXf sums = product.cwiseProduct(k).rowwise().sum();
    for (size_t row = 0; row < z.size(); ++row) z[row] = static_cast<double>(sums[static_cast<int64_t>(row)]);
  }

  PolicyOptions options_;
  double scale_;
  int64_t dim_, sinks_;
  const kernels::RotaryTable* rotary_;
  HeldRows keys_;  // and the norm of the value
  std::vector<QueryModel> models_;
  int64_t waiting_ = 0, seen_ = 0, fitted_at_ = -1;
};

/// Scores between two fits; of each query head the moments, the queries that are not in them yet, and the
/// fit.
Metadata queries_kept(const RuleContext& context, size_t owner) {
  const int64_t dim = context.shape.head_dim, moments = dim + dim * dim;
  const int64_t of_head =
      moments * score_bytes + context.options.refresh * dim * weight_bytes + moments * weight_bytes;
  return {.key = position_bytes + score_bytes, .set = context.owners[owner].query_heads * of_head};
}

}  // namespace

PolicyInfo expected_attention_policy() {
  return {.name = "expected_attention",
          .summary = "the key leaves that the queries to come are expected to need least",
          .citation = "Devoto et al. 2025, arXiv 2510.00636",
          .sinks = 4,
          .scorer = [](const RuleContext& context, size_t owner) -> std::unique_ptr<Scorer> {
            return std::make_unique<ExpectedWeight>(context, owner);
          },
          .metadata = &queries_kept};
}

}  // namespace kvviz::policy
