// A C interface to ExecuTorch with XNNPACK: load a program, bind its buffers once, run it.
//
// Meant for ctypes: plain types only, one shared library for every Python version, and no call
// after `ofp_bind` allocates anything of ours. Nothing here lets a C++ exception or an ExecuTorch
// abort out: every function answers 0 or an error code, and `ofp_message` says what was wrong.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/extension/threadpool/threadpool_guard.h>
#include <executorch/runtime/core/data_loader.h>
#include <executorch/runtime/core/hierarchical_allocator.h>
#include <executorch/runtime/executor/memory_manager.h>
#include <executorch/runtime/executor/method.h>
#include <executorch/runtime/executor/program.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

// The wheel has this class in its library but not its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
} // namespace executorch::extension::threadpool

namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::extension::MallocMemoryAllocator;
using executorch::extension::threadpool::get_threadpool;
using executorch::extension::threadpool::NoThreadPoolGuard;
using executorch::runtime::DataLoader;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::HierarchicalAllocator;
using executorch::runtime::MemoryManager;
using executorch::runtime::Method;
using executorch::runtime::Program;
using executorch::runtime::Result;
using executorch::runtime::Span;
using executorch::runtime::TensorInfo;

constexpr size_t kAlignment = 128; // of program segments and planned memory
constexpr int kAborted = 1000; // ExecuTorch wanted to end the process
constexpr int kThreads = 1001; // another thread count is in use
constexpr int kClosed = 1002;
constexpr int kBusy = 1003;

// ---- What went wrong -----------------------------------------------------------------------

thread_local bool inside = false; // between entry and return of a function below
thread_local std::string message; // the first complaint of the call

struct Aborted {};
struct OutOfMemory {
  size_t size;
};

void emit(
    et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t, const char* text,
    size_t length) {
  if (level != kError && level != kFatal) {
    return;
  }
  if (!inside) { // another user of ExecuTorch in this process
    std::fprintf(stderr, "executorch: %.*s\n", static_cast<int>(length), text);
  } else if (message.empty()) { // the first is the cause, later ones its consequences
    message.assign(text, length);
  }
}

// ExecuTorch's failed checks end the process. Its libraries are built with unwind tables, so
// leaving by an exception ends the call instead; the program concerned is not to be used again.
void leave() {
  if (inside) {
    throw Aborted{};
  }
  std::abort();
}

struct Inside {
  Inside() {
    inside = true;
    message.clear();
  }
  ~Inside() { inside = false; }
};

int fail(int code, const std::string& text) {
  message = text;
  return code;
}

template <typename Function>
int guarded(Function&& function) noexcept {
  Inside scope;
  try {
    const int code = function();
    if (code != 0 && message.empty()) {
      message = to_string(static_cast<Error>(code));
    }
    return code;
  } catch (const OutOfMemory& cause) {
    return fail(
        static_cast<int>(Error::MemoryAllocationFailed),
        "out of memory: no " + std::to_string(cause.size) + " bytes to be had");
  } catch (const std::bad_alloc&) {
    return fail(static_cast<int>(Error::MemoryAllocationFailed), "out of memory");
  } catch (const std::exception& cause) {
    return fail(kAborted, cause.what());
  } catch (const Aborted&) {
    if (message.empty()) {
      message = "a check failed";
    }
    return kAborted;
  } catch (...) { // "..." and not Aborted: a cancelled thread
    message = "unknown exception";
    return kAborted;
  }
}

// ---- Memory --------------------------------------------------------------------------------

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Block = std::unique_ptr<void, Free>;

Block block(size_t size) {
  void* memory = nullptr;
  if (size < SIZE_MAX / 2) {
    memory = std::aligned_alloc(kAlignment, (size / kAlignment + 1) * kAlignment);
  }
  if (memory == nullptr) {
    throw OutOfMemory{size};
  }
  return Block(memory);
}

// Gives out copies, so that nothing points into the caller's bytes once `load` has returned:
// XNNPACK's part is freed as soon as its weights are packed.
class Copies final : public DataLoader {
 public:
  Copies(const void* data, size_t size) : data_(static_cast<const char*>(data)), size_(size) {}

  Result<FreeableBuffer> load(size_t offset, size_t size, const SegmentInfo&) const override {
    if (offset > size_ || size > size_ - offset) {
      ET_LOG(Error, "the program is cut short: %zu bytes at %zu of %zu", size, offset, size_);
      return Error::InvalidProgram;
    }
    Block copy = block(size);
    std::memcpy(copy.get(), data_ + offset, size);
    return FreeableBuffer(
        copy.release(), size, [](void*, void* data, size_t) { std::free(data); });
  }

  Error load_into(size_t offset, size_t size, const SegmentInfo&, void* to) const override {
    if (offset > size_ || size > size_ - offset) {
      return Error::InvalidProgram;
    }
    std::memcpy(to, data_ + offset, size);
    return Error::Ok;
  }

  Result<size_t> size() const override { return size_; }

  void forget() { size_ = 0; }

 private:
  const char* data_;
  size_t size_;
};

// ---- One loaded program --------------------------------------------------------------------

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
Registry& registry() {
  static Registry* const all = new Registry;
  return *all;
}

Loaded::~Loaded() {
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
int take_threads(Loaded& loaded, int threads) {
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

int load(const void* bytes, size_t size, int threads, std::unique_ptr<Loaded>& out) {
  auto loaded = std::make_unique<Loaded>();
  if (const int code = take_threads(*loaded, threads)) {
    return code;
  }
  Pool pool(threads);
  loaded->loader = std::make_unique<Copies>(bytes, size);
  Result<Program> program =
      Program::load(loaded->loader.get(), Program::Verification::InternalConsistency);
  if (!program.ok()) {
    return static_cast<int>(program.error());
  }
  loaded->program = std::make_unique<Program>(std::move(program.get()));
  const auto meta = loaded->program->method_meta("forward");
  if (!meta.ok()) {
    return static_cast<int>(meta.error());
  }
  for (size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
    const auto wanted = meta->memory_planned_buffer_size(i);
    if (!wanted.ok()) {
      return static_cast<int>(wanted.error());
    }
    const size_t bytes_planned = static_cast<size_t>(wanted.get());
    loaded->planned.push_back(block(bytes_planned));
    loaded->spans.emplace_back(
        static_cast<uint8_t*>(loaded->planned.back().get()), bytes_planned);
  }
  loaded->arena = std::make_unique<HierarchicalAllocator>(
      Span<Span<uint8_t>>(loaded->spans.data(), loaded->spans.size()));
  loaded->manager = std::make_unique<MemoryManager>(
      &loaded->method_memory, loaded->arena.get(), &loaded->scratch);
  Result<Method> method = loaded->program->load_method("forward", loaded->manager.get());
  if (!method.ok()) {
    return static_cast<int>(method.error());
  }
  loaded->method = std::make_unique<Method>(std::move(method.get()));
  loaded->loader->forget();
  out = std::move(loaded);
  return 0;
}

Result<TensorInfo> info(const Loaded& loaded, int output, size_t index) {
  const auto meta = loaded.method->method_meta();
  return output ? meta.output_tensor_meta(index) : meta.input_tensor_meta(index);
}

int bind_input(Loaded& loaded, size_t index, void* data, const TensorInfo& meta) {
  std::vector<TensorImpl::SizesType> sizes(meta.sizes().begin(), meta.sizes().end());
  std::vector<TensorImpl::DimOrderType> order(meta.dim_order().begin(), meta.dim_order().end());
  TensorImpl tensor(
      meta.scalar_type(), static_cast<ssize_t>(sizes.size()), sizes.data(), data, order.data());
  // An input without planned memory takes the pointer, and keeps it over every run.
  const Error error = loaded.method->set_input(EValue(Tensor(&tensor)), index);
  if (error == Error::Ok && meta.is_memory_planned()) {
    void* planned = loaded.method->mutable_input(index).toTensor().mutable_data_ptr();
    loaded.before.push_back({planned, data, meta.nbytes()});
  }
  return static_cast<int>(error);
}

int bind_output(Loaded& loaded, size_t index, void* data, const TensorInfo& meta) {
  if (!meta.is_memory_planned()) {
    return static_cast<int>(loaded.method->set_output_data_ptr(data, meta.nbytes(), index));
  }
  const void* planned = loaded.method->get_output(index).toTensor().const_data_ptr();
  loaded.after.push_back({data, planned, meta.nbytes()});
  return 0;
}

} // namespace

// ---- The interface ---------------------------------------------------------------------------

#define OFP_EXPORT extern "C" __attribute__((visibility("default")))

// What the last call of this thread that did not answer 0 complained of; valid until its next call.
OFP_EXPORT const char* ofp_message() {
  return message.c_str();
}

OFP_EXPORT const char* ofp_version() {
  return OFP_VERSION;
}

// To be called once, before anything else.
OFP_EXPORT int ofp_initialize() {
  return guarded([] {
    executorch::runtime::runtime_init();
    executorch::runtime::register_pal(executorch::runtime::PalImpl::create(
        nullptr, leave, nullptr, nullptr, emit, nullptr, nullptr, "ofp_edge_executorch"));
    return 0;
  });
}

// Loads the method "forward" of a program; `bytes` are not needed afterwards.
OFP_EXPORT int ofp_load(const void* bytes, size_t size, int threads, int64_t* id) {
  return guarded([&] {
    std::unique_ptr<Loaded> loaded;
    const int code = load(bytes, size, threads, loaded);
    if (code == 0) {
      std::lock_guard<std::mutex> lock(registry().mutex);
      *id = registry().next++;
      registry().programs.emplace(*id, loaded.release());
    }
    return code;
  });
}

// How many inputs (output = 0) or outputs (1) the program has.
OFP_EXPORT int ofp_count(int64_t id, int output, size_t* count) {
  return guarded([&] {
    const Use loaded(id);
    if (!loaded) {
      return fail(kClosed, "the program is closed");
    }
    *count = output ? loaded->method->outputs_size() : loaded->method->inputs_size();
    return 0;
  });
}

// An input's or output's ScalarType, rank and sizes (`sizes` has room for 16), and its bytes.
OFP_EXPORT int ofp_tensor(
    int64_t id, int output, size_t index, int* dtype, size_t* rank, int64_t* sizes,
    size_t* nbytes) {
  return guarded([&] {
    const Use loaded(id);
    if (!loaded) {
      return fail(kClosed, "the program is closed");
    }
    const auto meta = info(*loaded, output, index);
    if (!meta.ok()) {
      return static_cast<int>(meta.error());
    }
    *dtype = static_cast<int>(meta->scalar_type());
    *rank = meta->sizes().size();
    *nbytes = meta->nbytes();
    for (size_t i = 0; i < *rank && i < 16; ++i) {
      sizes[i] = meta->sizes()[i];
    }
    return 0;
  });
}

// Reads an input from, or writes an output to, `data` at every run from now on. Once for each.
OFP_EXPORT int ofp_bind(int64_t id, int output, size_t index, void* data, size_t nbytes) {
  return guarded([&] {
    const Use loaded(id);
    if (!loaded) {
      return fail(kClosed, "the program is closed");
    }
    const auto meta = info(*loaded, output, index);
    if (!meta.ok()) {
      return static_cast<int>(meta.error());
    }
    if (meta->nbytes() != nbytes) {
      return fail(
          static_cast<int>(Error::InvalidArgument),
          "a buffer of " + std::to_string(nbytes) + " bytes, the tensor has " +
              std::to_string(meta->nbytes()));
    }
    const int code = output ? bind_output(*loaded, index, data, *meta)
                            : bind_input(*loaded, index, data, *meta);
    loaded->bound += code == 0;
    return code;
  });
}

// Runs the program once on its bound buffers.
OFP_EXPORT int ofp_run(int64_t id) {
  return guarded([&] {
    const Use loaded(id);
    if (!loaded) {
      return fail(kClosed, "the program is closed");
    }
    Busy busy(*loaded);
    if (!busy.mine) {
      return fail(kBusy, "the program runs in another thread; load it once more for this one");
    }
    if (loaded->broken) {
      return fail(kAborted, "the program failed before and cannot go on");
    }
    if (loaded->bound != loaded->method->inputs_size() + loaded->method->outputs_size()) {
      return fail(static_cast<int>(Error::InvalidState), "not every buffer is bound");
    }
    Pool pool(loaded->threads);
    for (const Copy& copy : loaded->before) {
      std::memcpy(copy.to, copy.from, copy.size);
    }
    loaded->broken = true;
    const Error error = loaded->method->execute();
    loaded->broken = false;
    for (const Copy& copy : loaded->after) {
      std::memcpy(copy.to, copy.from, copy.size);
    }
    return static_cast<int>(error);
  });
}

// Releases a program; one that is running in another thread goes when that run ends.
OFP_EXPORT int ofp_close(int64_t id) {
  return guarded([&] {
    Loaded* taken = nullptr;
    {
      std::lock_guard<std::mutex> lock(registry().mutex);
      const auto found = registry().programs.find(id);
      if (found != registry().programs.end()) {
        taken = found->second;
        registry().programs.erase(found);
      }
    }
    const Use last(taken);
    return 0;
  });
}
