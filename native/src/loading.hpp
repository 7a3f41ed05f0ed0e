// From a program's bytes to a method with its memory, and to the caller's buffers bound to it.

#pragma once

#include <vector>

#include "registry.hpp"

namespace ofp {

using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::runtime::EValue;
using executorch::runtime::TensorInfo;

inline int load(const void* bytes, size_t size, int threads, std::unique_ptr<Loaded>& out) {
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

inline Result<TensorInfo> info(const Loaded& loaded, int output, size_t index) {
  const auto meta = loaded.method->method_meta();
  return output ? meta.output_tensor_meta(index) : meta.input_tensor_meta(index);
}

inline int bind_input(Loaded& loaded, size_t index, void* data, const TensorInfo& meta) {
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

inline int bind_output(Loaded& loaded, size_t index, void* data, const TensorInfo& meta) {
  if (!meta.is_memory_planned()) {
    return static_cast<int>(loaded.method->set_output_data_ptr(data, meta.nbytes(), index));
  }
  const void* planned = loaded.method->get_output(index).toTensor().const_data_ptr();
  loaded.after.push_back({data, planned, meta.nbytes()});
  return 0;
}

} // namespace ofp
