// SPDX-License-Identifier: MIT
#include "kvviz/core/interrupt.hpp"

#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

namespace kvviz {
namespace {

using namespace std::chrono_literals;

constexpr std::array ending{SIGINT, SIGTERM, SIGHUP};
constexpr std::array ignored{SIGPIPE, SIGXFSZ};

struct Registry {
  // Recursive: a signal may find the same thread's lock, and what is undone may come upon it again.
  std::recursive_mutex mutex;
  std::list<std::function<void()>> undo;
  std::list<WatchedMemory::Entry> memory;
  std::atomic<int> exit_code = 0;  // of the signal that came first
};

// Never destroyed: threads run until the process ends.
Registry*& shared() {
  static Registry* registry = new Registry;
  return registry;
}

const char* name_of(int signal) {
  return signal == SIGINT ? "SIGINT" : signal == SIGTERM ? "SIGTERM" : "SIGHUP";
}

// A real-time signal: its value carries an address.
int memory_signal() {
  return SIGRTMIN;
}

void exit_at_once(int) {
  _exit(shared()->exit_code);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

// Whatever hangs from here on (a disk, a terminal that is stopped): the process ends.
void end_soon() {
  handle(SIGALRM, exit_at_once);
  const itimerval soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 900'000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
}

void undo_all(const Registry& registry) {
  for (auto undo = registry.undo.rbegin(); undo != registry.undo.rend(); ++undo) (*undo)();
}

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR) return;
    text.remove_prefix(static_cast<size_t>(written < 0 ? 0 : written));
  }
}

// Nobody writes after it: the lock of stderr is kept.
void last_words(const std::string& text) {
  for (int tries = 0; ftrylockfile(stderr) != 0 && tries < 20; ++tries) std::this_thread::sleep_for(5ms);
  write_all(text);
}

std::string what_of(const void* address) {
  Registry& registry = *shared();
  const std::lock_guard lock(registry.mutex);
  for (const WatchedMemory::Entry& entry : registry.memory)
    if (address >= entry.bytes.data() && address < entry.bytes.data() + entry.bytes.size()) return entry.what;
  return {};
}

std::string line(const std::string& words) {
  return "kvviz: " + words + '\n';
}

[[noreturn]] void watch(sigset_t signals) {
  for (;;) {
    siginfo_t info{};
    const int signal = sigwaitinfo(&signals, &info);
    if (signal == memory_signal() && info.si_pid == getpid()) {
      const std::string what = what_of(info.si_value.sival_ptr);
      if (!what.empty()) end_process(1, what);
      std::signal(SIGBUS, SIG_DFL);
      kill(getpid(), SIGBUS);  // no file of ours: the crash that it is
    } else if (signal > 0 && signal != memory_signal()) {
      end_process(128 + signal, std::string("interrupted (") + name_of(signal) + ')');
    }
  }
}

// Runs in the thread that read; the others, and what must be undone, are left to watch().
void on_unreadable(int, siginfo_t* info, void*) {
  sigval address{};
  address.sival_ptr = info->si_addr;
  while (sigqueue(getpid(), memory_signal(), address) == 0) pause();
  handle(SIGBUS, SIG_DFL);  // no signal to be had: the crash that it is
}

bool is_ignored(int signal) {
  struct sigaction before {};
  return sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN;
}

}  // namespace

void end_process(int code, const std::string& words) {
  Registry& registry = *shared();
  registry.exit_code = code;
  end_soon();
  // No try_lock_for(): GCC 12's ThreadSanitizer does not know the lock that it takes.
  bool locked = registry.mutex.try_lock();
  for (int tries = 0; !locked && tries < 80; ++tries) {
    std::this_thread::sleep_for(5ms);
    locked = registry.mutex.try_lock();
  }
  if (locked) undo_all(registry);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : ending) {
    handle(signal, exit_at_once);
    sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // a second one waits for nothing
  last_words(line(words));
  if (locked) undo_all(registry);  // a file that another thread was about to open is there by now
  _exit(code);
}

void watch_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, memory_signal());
  for (const int signal : ending)
    if (!is_ignored(signal)) sigaddset(&signals, signal);
  for (const int signal : ignored) handle(signal, SIG_IGN);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  try {
    std::thread(watch, signals).detach();
  } catch (const std::system_error&) {
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // no thread to be had: signals end it as they are
    return;
  }
  struct sigaction unreadable {};
  unreadable.sa_sigaction = on_unreadable;
  unreadable.sa_flags = SA_SIGINFO;
  sigemptyset(&unreadable.sa_mask);
  sigaction(SIGBUS, &unreadable, nullptr);
}

void be_a_child(int parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(128 + SIGKILL);
  shared() = new Registry;  // a thread that is not here may hold the lock of the other
  setpgid(0, 0);
  for (const int signal : ignored) handle(signal, SIG_DFL);
  handle(SIGBUS, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void share_interrupts(void* library) {
  const auto share = reinterpret_cast<void (*)(void*)>(dlsym(library, "kvviz_share_interrupts"));
  if (share != nullptr) share(shared());
}

Uninterrupted::Uninterrupted() {
  shared()->mutex.lock();
}

Uninterrupted::~Uninterrupted() {
  shared()->mutex.unlock();
}

AtInterrupt::AtInterrupt(std::function<void()> undo) {
  const Uninterrupted now;
  at_ = shared()->undo.insert(shared()->undo.end(), std::move(undo));
}

AtInterrupt::~AtInterrupt() {
  const Uninterrupted now;
  shared()->undo.erase(at_);
}

WatchedMemory::WatchedMemory(std::span<const std::byte> bytes, std::string what) {
  const Uninterrupted now;
  at_ = shared()->memory.insert(shared()->memory.end(), {bytes, std::move(what)});
}

WatchedMemory::~WatchedMemory() {
  const Uninterrupted now;
  shared()->memory.erase(at_);
}

}  // namespace kvviz

extern "C" void kvviz_share_interrupts(void* registry) {
  kvviz::shared() = static_cast<kvviz::Registry*>(registry);
}
