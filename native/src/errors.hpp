// What went wrong, as a code and one line: nothing leaves a call by an exception or an abort.

#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>

#include <executorch/runtime/core/error.h>
#include <executorch/runtime/platform/platform.h>

namespace ofp {

using executorch::runtime::Error; // codes below 1000 are ExecuTorch's

constexpr int kAborted = 1000; // ExecuTorch wanted to end the process
constexpr int kThreads = 1001; // another thread count is in use
constexpr int kClosed = 1002;
constexpr int kBusy = 1003;

inline thread_local bool inside = false; // between entry and return of a function below
inline thread_local std::string message; // the first complaint of the call

struct Aborted {};
struct OutOfMemory {
  size_t size;
};

inline void emit(
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
inline void leave() {
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

inline int fail(int code, const std::string& text) {
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

} // namespace ofp
