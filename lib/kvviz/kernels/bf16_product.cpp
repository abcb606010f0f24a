// SPDX-License-Identifier: MIT
#include "kvviz/kernels/bf16_product.hpp"

#include <stdexcept>

#ifdef KVVIZ_ONEDNN
#include <dnnl.hpp>
#include <unordered_map>

#include "kvviz/core/error.hpp"
#include "kvviz/kernels/aligned_floats.hpp"

// GNU's OpenMP, whose header other compilers do not have.
extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int threads);
}
#endif

namespace kvviz::kernels {

#ifdef KVVIZ_ONEDNN
namespace {

/// oneDNN would share each tile out among threads of its own.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

const dnnl::engine& cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::matmul::primitive_desc description(const Bf16Product& p) {
  using Type = dnnl::memory::data_type;
  const dnnl::memory::desc x({p.rows, p.in}, Type::bf16, dnnl::memory::dims{p.in, 1});
  const dnnl::memory::desc w({p.in, p.out}, Type::bf16, dnnl::memory::dims{1, p.in});
  const dnnl::memory::desc b = p.b != nullptr
                                   ? dnnl::memory::desc({1, p.out}, Type::f32, dnnl::memory::dims{p.out, 1})
                                   : dnnl::memory::desc();
  const dnnl::memory::desc y({p.rows, p.out}, Type::f32, dnnl::memory::dims{p.y_stride, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // the library's belongs to no thread
#if DNNL_VERSION_MAJOR >= 3
  return {cpu(), x, w, b, y, attributes};
#else
  return {dnnl::matmul::desc(x, w, b, y), attributes, cpu()};
#endif
}

/// oneDNN takes no const memory.
template <class T>
void* writable(const T* data) {
  return const_cast<T*>(data);
}

}  // namespace

bool bf16_products() {
  static const bool has = [] {
    const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
    return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
  }();
  return has;
}

std::string bf16_products_method() {
  if (!bf16_products()) return "this processor has no bf16 instructions";
  const dnnl::version_t* const version = dnnl::version();
  return cat("oneDNN ", version->major, '.', version->minor, '.', version->patch, " (avx512_bf16)");
}

void bf16_product(const Bf16Product& p) {
  const OneThread guard;
  // Both come from the library's cache when the shape has been seen before.
  const dnnl::matmul::primitive_desc from = description(p);
  const dnnl::matmul multiply(from);
  static thread_local AlignedFloats buffer;
  const auto scratch = static_cast<int64_t>(from.scratchpad_desc().get_size() / sizeof(float) + 1);
  std::unordered_map<int, dnnl::memory> arguments{
      {DNNL_ARG_SRC, {from.src_desc(), cpu(), writable(p.x)}},
      {DNNL_ARG_WEIGHTS, {from.weights_desc(), cpu(), writable(p.w)}},
      {DNNL_ARG_DST, {from.dst_desc(), cpu(), p.y}},
      {DNNL_ARG_SCRATCHPAD, {from.scratchpad_desc(), cpu(), buffer.at_least(scratch)}}};
  if (p.b != nullptr) arguments.insert({DNNL_ARG_BIAS, {from.bias_desc(), cpu(), writable(p.b)}});
  dnnl::stream stream(cpu());
  multiply.execute(stream, arguments);
  stream.wait();
}
#else
bool bf16_products() {
  return false;
}

std::string bf16_products_method() {
  return "this build has no oneDNN";
}

void bf16_product(const Bf16Product&) {
  throw std::logic_error("built without oneDNN");
}
#endif

}  // namespace kvviz::kernels
