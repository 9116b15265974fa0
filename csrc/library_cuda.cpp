// The module that brings the CUDA kernels; the schemas are in library.cpp.
#include <Python.h>
#include <cuda_runtime_api.h>

#include <string>

#include "ops/stable.h"
#include "source_hash.h"  // setup.py writes it

namespace {

int64_t cuda_version() { return CUDART_VERSION; }
std::string cuda_architectures() { return PSEUDO_IOU_OPS_CUDA_ARCHITECTURES; }
std::string cuda_source_hash() { return PSEUDO_IOU_OPS_SOURCE_HASH; }

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pseudo_iou_ops, CompositeExplicitAutograd, m) {
  m.impl("cuda_version", TORCH_BOX(&cuda_version));
  m.impl("cuda_architectures", TORCH_BOX(&cuda_architectures));
  m.impl("cuda_source_hash", TORCH_BOX(&cuda_source_hash));
}

PyMODINIT_FUNC PyInit__C_cuda() {
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
