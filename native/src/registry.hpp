// Loaded programs by number, who is using them, and the threads that they share.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/extension/threadpool/threadpool_guard.h>
#include <executorch/runtime/core/hierarchical_allocator.h>
#include <executorch/runtime/executor/memory_manager.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>

#include "errors.hpp"
#include "memory.hpp"

// The wheel has this class in its library but not its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
} // namespace executorch::extension::threadpool

namespace ofp {

using executorch::extension::MallocMemoryAllocator;
using executorch::extension::threadpool::get_threadpool;
using executorch::extension::threadpool::NoThreadPoolGuard;
using executorch::runtime::HierarchicalAllocator;
using executorch::runtime::MemoryManager;
using executorch::runtime::Method;
using executorch::runtime::Program;
using executorch::runtime::Span;

struct Copy {
  void* to;
  const void* from;
  size_t size;
};

struct Loaded {
  std::unique_ptr<Copies> loader;
  std::unique_ptr<Program> program;
  std::vector<Block> planned;
  std::vector<Span<uint8_t>> spans;
  std::unique_ptr<HierarchicalAllocator> arena;
  MallocMemoryAllocator method_memory, scratch;
  std::unique_ptr<MemoryManager> manager;
  std::unique_ptr<Method> method;
  std::vector<Copy> before, after; // inputs and outputs that cannot share the caller's memory
  size_t bound = 0;
  int users = 1; // the registry, and calls that are under way
  int threads = 1;
  bool broken = false;
  std::atomic_flag busy = ATOMIC_FLAG_INIT;

  ~Loaded();
};

struct Registry {
  std::mutex mutex;
  std::unordered_map<int64_t, Loaded*> programs;
  int64_t next = 1;
  int sharing = 0; // loaded programs that use the thread pool
  size_t pool = 0; // its size; 0: never asked for
};

// Never destroyed: at exit XNNPACK's own statics may be gone before ours.
inline Registry& registry() {
  static Registry* const all = new Registry;
  return *all;
}

inline Loaded::~Loaded() {
  if (threads > 1) {
    std::lock_guard<std::mutex> lock(registry().mutex);
    --registry().sharing;
  }
}

// A program for the length of a call: it is deleted by whoever is the last to let go of it. (Not
// shared_ptr, for which g++ asks a newer glibc than ExecuTorch's own libraries do.)
class Use {
 public:
  explicit Use(int64_t id) {
    std::lock_guard<std::mutex> lock(registry().mutex);
    const auto found = registry().programs.find(id);
    if (found != registry().programs.end()) {
      loaded_ = found->second;
      ++loaded_->users;
    }
  }
  explicit Use(Loaded* taken) : loaded_(taken) {}
  ~Use() {
    if (loaded_ == nullptr) {
      return;
    }
    bool last = false;
    {
      std::lock_guard<std::mutex> lock(registry().mutex);
      last = --loaded_->users == 0;
    }
    if (last) {
      delete loaded_;
    }
  }
  Use(const Use&) = delete;
  explicit operator bool() const { return loaded_ != nullptr; }
  Loaded* operator->() const { return loaded_; }
  Loaded& operator*() const { return *loaded_; }

 private:
  Loaded* loaded_ = nullptr;
};

// One thread means none but the caller's: the pool is left alone and hidden from XNNPACK. More
// share the one pool a process has, which must not change while a program holds on to it.
inline int take_threads(Loaded& loaded, int threads) {
  Registry& all = registry();
  std::lock_guard<std::mutex> lock(all.mutex);
  const size_t wanted = static_cast<size_t>(threads);
  if (threads > 1 && all.sharing > 0 && all.pool != wanted) {
    return fail(
        kThreads,
        "a loaded program computes on " + std::to_string(all.pool) +
            " threads and all of a process share them; close it first, or load on as many");
  }
  if (all.pool == 0 || (threads > 1 && all.pool != wanted)) {
    get_threadpool()->_unsafe_reset_threadpool(static_cast<uint32_t>(threads));
    all.pool = wanted;
  }
  if (threads > 1) {
    ++all.sharing;
  }
  loaded.threads = threads;
  return 0;
}

struct Pool { // for the length of a call
  explicit Pool(int threads) : before(NoThreadPoolGuard::is_enabled()) {
    NoThreadPoolGuard::set_enabled(threads == 1);
  }
  ~Pool() { NoThreadPoolGuard::set_enabled(before); }
  const bool before;
};

struct Busy {
  explicit Busy(Loaded& loaded) : flag(loaded.busy), mine(!flag.test_and_set()) {}
  ~Busy() {
    if (mine) {
      flag.clear();
    }
  }
  std::atomic_flag& flag;
  const bool mine;
};

} // namespace ofp
