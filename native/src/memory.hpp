// Aligned memory, and a program's bytes handed to ExecuTorch as copies.

#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>

#include <executorch/runtime/core/data_loader.h>

#include "errors.hpp"

namespace ofp {

using executorch::runtime::DataLoader;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;

constexpr size_t kAlignment = 128; // of program segments and planned memory

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Block = std::unique_ptr<void, Free>;

inline Block block(size_t size) {
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

} // namespace ofp
