// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <functional>
#include <list>
#include <span>
#include <string>

namespace kvviz {

// A signal ends a run wherever it is: nothing that computes asks whether it should go on. What must not
// outlive the process (files half written, children, a line half drawn) says so by an AtInterrupt. All of it
// costs a lock in each of these places and nothing elsewhere.

/// From here on SIGINT, SIGTERM and SIGHUP end the process within a second with the exit code 128 + signal
/// and one line on stderr, after everything named by an AtInterrupt is undone, the latest first; a signal
/// that the caller ignores (nohup) stays ignored. Reading a mapping whose file was cut short (SIGBUS) ends it
/// with 1 and the text of its WatchedMemory. Writing to a closed pipe or beyond `ulimit -f` becomes an error
/// of the write. Call it first in main(): threads that run already would take the signals for themselves.
void watch_signals();

/// A process made by fork() gets back what a new one has: no signal blocked, none ignored that
/// watch_signals() ignores, its own process group (Ctrl-C in a terminal is for kvviz, which ends it), and
/// SIGKILL when the thread that made it ends. Only calls that are safe after fork().
void be_a_child(int parent);

/// Ends the process at once, with what a signal would undo undone: where no exception can get out.
[[noreturn]] void end_process(int code, const std::string& words);

/// A library that was opened, and has this code a second time, shares the signals of the program.
void share_interrupts(void* library);

/// Held while something comes to be that a signal must undo, or comes to stay. A signal waits for it; once
/// one has come, nobody gets it any more.
class [[nodiscard]] Uninterrupted {
 public:
  Uninterrupted();
  ~Uninterrupted();
  Uninterrupted(const Uninterrupted&) = delete;
  Uninterrupted& operator=(const Uninterrupted&) = delete;
};

/// What a signal undoes as long as this object lives. `undo` runs in a thread of its own while the others
/// still run, perhaps twice; it takes no lock and throws nothing.
class [[nodiscard]] AtInterrupt {
 public:
  explicit AtInterrupt(std::function<void()> undo);
  ~AtInterrupt();
  AtInterrupt(const AtInterrupt&) = delete;
  AtInterrupt& operator=(const AtInterrupt&) = delete;

 private:
  std::list<std::function<void()>>::iterator at_;
};

/// Memory that may cease to be readable, and what to say of it then.
class [[nodiscard]] WatchedMemory {
 public:
  WatchedMemory(std::span<const std::byte> bytes, std::string what);
  ~WatchedMemory();
  WatchedMemory(const WatchedMemory&) = delete;
  WatchedMemory& operator=(const WatchedMemory&) = delete;

  struct Entry {
    std::span<const std::byte> bytes;
    std::string what;
  };

 private:
  std::list<Entry>::iterator at_;
};

}  // namespace kvviz
