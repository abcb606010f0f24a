// SPDX-License-Identifier: MIT
#include "kvviz/formats/pickle.hpp"

#include <algorithm>
#include <array>

#include "kvviz/core/error.hpp"
#include "kvviz/formats/pickle_machine.hpp"

namespace kvviz {
namespace {

using pickle::Machine, pickle::Mark, pickle::None;

constexpr size_t largest_pickle = size_t{64} << 20;
constexpr uint8_t stop = '.';

// Two values: the key lies under its value, so they are taken in one order and given in the other.
void set_item(Machine& m) {
  const pickle::Value value = m.pop(), key = m.pop();
  m.set_items({key, value});
}
void global(Machine& m) {
  const std::string_view module = m.line(), name = m.line();
  m.push_global(module, name);
}

struct Opcode {
  uint8_t code;
  const char* name;  ///< in Python's pickletools
  void (*run)(Machine&);
};
constexpr std::array opcodes{
    Opcode{0x80, "PROTO", [](Machine& m) { m.take(1); }},
    Opcode{0x95, "FRAME", [](Machine& m) { m.take(8); }},
    Opcode{'(', "MARK", [](Machine& m) { m.push(Mark{}); }},
    Opcode{'N', "NONE", [](Machine& m) { m.push(None{}); }},
    Opcode{0x88, "NEWTRUE", [](Machine& m) { m.push(true); }},
    Opcode{0x89, "NEWFALSE", [](Machine& m) { m.push(false); }},
    Opcode{'J', "BININT", [](Machine& m) { m.push(int64_t{m.number<int32_t>()}); }},
    Opcode{'K', "BININT1", [](Machine& m) { m.push(int64_t{m.number<uint8_t>()}); }},
    Opcode{'M', "BININT2", [](Machine& m) { m.push(int64_t{m.number<uint16_t>()}); }},
    Opcode{0x8a, "LONG1", [](Machine& m) { m.push_long(m.take(m.number<uint8_t>())); }},
    // Big-endian, and nothing in a tensor is one: it is stepped over.
    Opcode{'G', "BINFLOAT", [](Machine& m) { m.take(8), m.push(0.0); }},
    Opcode{'X', "BINUNICODE", [](Machine& m) { m.push(m.text(m.number<uint32_t>())); }},
    Opcode{0x8c, "SHORT_BINUNICODE", [](Machine& m) { m.push(m.text(m.number<uint8_t>())); }},
    Opcode{0x8d, "BINUNICODE8", [](Machine& m) { m.push(m.text(m.number<uint64_t>())); }},
    Opcode{']', "EMPTY_LIST", [](Machine& m) { m.push_sequence({}); }},
    Opcode{'a', "APPEND", [](Machine& m) { m.append({m.pop()}); }},
    Opcode{'e', "APPENDS", [](Machine& m) { m.append(m.pop_to_mark()); }},
    Opcode{')', "EMPTY_TUPLE", [](Machine& m) { m.push_sequence({}); }},
    Opcode{'t', "TUPLE", [](Machine& m) { m.push_sequence(m.pop_to_mark()); }},
    Opcode{0x85, "TUPLE1", [](Machine& m) { m.push_tuple(1); }},
    Opcode{0x86, "TUPLE2", [](Machine& m) { m.push_tuple(2); }},
    Opcode{0x87, "TUPLE3", [](Machine& m) { m.push_tuple(3); }},
    Opcode{'}', "EMPTY_DICT", [](Machine& m) { m.push_dict(); }},
    Opcode{'s', "SETITEM", set_item},
    Opcode{'u', "SETITEMS", [](Machine& m) { m.set_items(m.pop_to_mark()); }},
    Opcode{'q', "BINPUT", [](Machine& m) { m.remember(m.number<uint8_t>()); }},
    Opcode{'r', "LONG_BINPUT", [](Machine& m) { m.remember(m.number<uint32_t>()); }},
    Opcode{0x94, "MEMOIZE", [](Machine& m) { m.remember_next(); }},
    Opcode{'h', "BINGET", [](Machine& m) { m.recall(m.number<uint8_t>()); }},
    Opcode{'j', "LONG_BINGET", [](Machine& m) { m.recall(m.number<uint32_t>()); }},
    Opcode{'c', "GLOBAL", global},
    Opcode{0x93, "STACK_GLOBAL", [](Machine& m) { m.stack_global(); }},
    Opcode{'R', "REDUCE", [](Machine& m) { m.reduce(); }},
    Opcode{'b', "BUILD", [](Machine& m) { m.build(); }},
    Opcode{'Q', "BINPERSID", [](Machine& m) { m.push_storage(); }},
};

}  // namespace

std::vector<PickledTensor> unpickle(std::span<const std::byte> pickle, const std::string& file) {
  require(pickle.size() <= largest_pickle, file, ": its pickle has ", pickle.size(), " bytes; at most ",
          largest_pickle, " are read");
  Machine machine(pickle, file);
  for (auto code = machine.number<uint8_t>(); code != stop; code = machine.number<uint8_t>()) {
    const auto known = std::find_if(opcodes.begin(), opcodes.end(),
                                    [&](const Opcode& opcode) { return opcode.code == code; });
    if (known == opcodes.end()) machine.refuse(code);
    known->run(machine);
  }
  return machine.state_dict();
}

}  // namespace kvviz
