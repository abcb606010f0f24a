// SPDX-License-Identifier: MIT
// For the Python tests: `write FILE DTYPE` writes sample_cache.hpp's cache, `dump FILE` prints what is read,
// as JSON.
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "kvviz/io/cache_file.hpp"
#include "kvviz/io/cache_writer.hpp"
#include "kvviz/io/result_file.hpp"
#include "kvviz/tensor/runtime.hpp"
#include "unit/io/sample_cache.hpp"

namespace kvviz::io {
namespace {

nlohmann::ordered_json dump(const at::Tensor& tensor) {
  const at::Tensor wide = widened(tensor);
  const auto* values = static_cast<const float*>(wide.data_ptr());
  return {{"dtype", dtype_name(tensor.scalar_type())},
          {"shape", tensor.sizes().vec()},
          {"values", std::vector<float>(values, values + wide.numel())}};
}

nlohmann::ordered_json dump(const CacheContents& contents) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerKv& layer : contents.cache.layers)
    layers.push_back({{"key", dump(layer.key)},
                      {"value", dump(layer.value)},
                      {"query_heads", layer.query_heads},
                      {"window", layer.window}});
  const CacheProvenance& from = contents.provenance;
  return {{"command", from.command},
          {"model", from.model},
          {"architecture", from.architecture},
          {"bos", from.bos},
          {"created", from.created},
          {"post_rope", contents.cache.basis == KeyBasis::post_rope},
          {"pairing", static_cast<int>(contents.cache.pairing)},
          {"rotary_dim", contents.cache.rotary_dim},
          {"ids", contents.cache.tokens.ids},
          {"positions", contents.cache.tokens.positions},
          {"text", contents.cache.tokens.text},
          {"layers", layers}};
}

void write_arrays(const std::string& file) {
  ArrayFileWriter out(file, "analyze");
  const std::vector<double> mass = {0.25, 0.5, 0.75, 1, 1.25, 1.5};
  const std::vector<int64_t> shape = {2, 3};
  out.add({"attention/mass", {"layer", "key"}, "nats", "an example"}, shape, std::span(mass));
  out.commit();
}

void write_caches(const std::string& folder) {
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16})
    write_cache(folder + '/' + dtype_name(dtype) + ".h5", test::sample_cache(dtype).view(),
                {.command = "a command", .bos = "on"}, {.gzip = 1});
}

void write_queries(const std::string& file) {
  KvCache cache = test::sample_cache(at::kFloat);
  const std::vector<LayerQueries> queries = test::sample_queries(at::kFloat);
  cache.layers.back().query_heads = static_cast<int>(queries.back().query.size(0));
  CacheWriter writer(file, {.gzip = 9});
  for (size_t i = 0; i < queries.size(); ++i) writer.add_queries(i, queries[i]);
  writer.add_losses(test::sample_losses());
  writer.finish(cache.view(), {.command = "a command", .bos = "on"});
}

int run(const std::vector<std::string>& arguments) {
  const std::string what = arguments.empty() ? "" : arguments[0];
  if (what == "dump") {
    for (size_t i = 1; i < arguments.size(); ++i) std::puts(dump(read_cache(arguments[i])).dump().c_str());
    return 0;
  }
  if (what == "write" && arguments.size() == 2) {
    write_caches(arguments[1]);
    write_queries(arguments[1] + "/queries.h5");
    write_arrays(arguments[1] + "/arrays.h5");
    return 0;
  }
  std::fputs("usage: cache_file_tool write FOLDER | dump FILE...\n", stderr);
  return 2;
}

}  // namespace
}  // namespace kvviz::io

int main(int argc, char** argv) {
  try {
    return kvviz::io::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
