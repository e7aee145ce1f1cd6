# ONNX Runtime's headers: OnnxRuntime_FOUND, and the target onnxruntime::headers. The library itself
# is opened when the first model is (nn/onnx_model.h), so that one build serves hosts with and
# without it; OnnxRuntime_LIBRARY is where it was found, if it was.
#
# Looked for in $ATHANOR_ONNXRUNTIME, in the folder that scripts/setup.sh fills, and in the system.
set(_onnx_folders $ENV{ATHANOR_ONNXRUNTIME})
if(DEFINED ENV{XDG_CACHE_HOME})
  list(APPEND _onnx_folders $ENV{XDG_CACHE_HOME}/athanor/onnxruntime)
else()
  list(APPEND _onnx_folders $ENV{HOME}/.cache/athanor/onnxruntime)
endif()
find_path(OnnxRuntime_INCLUDE_DIR onnxruntime_cxx_api.h
  HINTS ${_onnx_folders} PATH_SUFFIXES include onnxruntime onnxruntime/core/session
                                       include/onnxruntime)
find_library(OnnxRuntime_LIBRARY NAMES libonnxruntime.so.1 onnxruntime
  HINTS ${_onnx_folders} PATH_SUFFIXES lib)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntime REQUIRED_VARS OnnxRuntime_INCLUDE_DIR)
mark_as_advanced(OnnxRuntime_INCLUDE_DIR OnnxRuntime_LIBRARY)
if(OnnxRuntime_FOUND AND NOT TARGET onnxruntime::headers)
  add_library(onnxruntime::headers INTERFACE IMPORTED)
  set_target_properties(onnxruntime::headers PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${OnnxRuntime_INCLUDE_DIR})
endif()
