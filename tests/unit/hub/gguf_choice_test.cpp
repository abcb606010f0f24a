// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "kvviz/core/error.hpp"
#include "kvviz/hub/gguf_choice.hpp"
#include "support/errors.hpp"

using namespace kvviz;
using namespace kvviz::hub;
using test::holds;
using test::message_of;

namespace {
const std::vector<std::string> files = {
    "README.md",         "Model-Q4_K_M.gguf",         "Model-Q4_K_S.gguf",
    "Model-IQ4_XS.gguf", "model_q8_0.gguf",           "Model-f16.gguf",
    "mmproj-f16.gguf",   "x/big-00001-of-00002.gguf", "x/big-00002-of-00002.gguf"};
}

TEST_CASE("[hub] a GGUF file is chosen by its name or by its quantisation as a word") {
  CHECK(choose_gguf(files, "Model-Q4_K_M.gguf") == "Model-Q4_K_M.gguf");
  CHECK(choose_gguf(files, "model-q4_k_m") == "Model-Q4_K_M.gguf");
  CHECK(choose_gguf(files, "q4_k_m") == "Model-Q4_K_M.gguf");
  CHECK(choose_gguf(files, "Q8_0") == "model_q8_0.gguf");
  CHECK(choose_gguf(files, "F16") == "Model-f16.gguf");
  CHECK(choose_gguf({"sub/only.gguf"}, "") == "sub/only.gguf");
  CHECK(choose_gguf({"sub/only.gguf"}, "only.gguf") == "sub/only.gguf");
}

TEST_CASE("[hub] a model in parts is chosen as one, by its first file") {
  const std::string first = "x/big-00001-of-00002.gguf", second = "x/big-00002-of-00002.gguf";
  for (const std::string& wanted :
       {first, second, std::string("big-00002-OF-00002.gguf"), std::string("big")})
    CHECK(choose_gguf(files, wanted) == first);
  CHECK(choose_gguf({second, first}, "") == first);
  CHECK(gguf_parts(files, first) == std::vector{first, second});
  CHECK(gguf_parts(files, "Model-f16.gguf") == std::vector<std::string>{"Model-f16.gguf"});
  CHECK(holds(message_of<DataError>([&] { gguf_parts({first}, first); }),
              "the repository lacks x/big-00002-of-00002.gguf"));
}

TEST_CASE("[hub] where the choice is not clear, the choices are listed") {
  const auto message = [](const std::string& wanted) {
    return message_of<UsageError>([&] { choose_gguf(files, wanted); });
  };
  CHECK(holds(message(""), "several GGUF files; name one of: "));
  CHECK(holds(message(""), "Model-IQ4_XS.gguf, "));
  CHECK_FALSE(holds(message(""), "mmproj"));
  CHECK_FALSE(holds(message(""), "00002-of"));
  CHECK(holds(message("Q4_K"), "no GGUF file is called Q4_K"));
  CHECK(holds(message("Q4_XS"), "no GGUF file"));
  CHECK(holds(message("Model"), "Model fits several; name one of: Model-IQ4_XS.gguf"));
  CHECK(holds(message_of<UsageError>([] { choose_gguf({"a.bin"}, ""); }), "no GGUF file"));
}
