# weir (BSL-1.0). What tests and benchmarks need: the machine's package first, else a pinned release.
# weir::weir itself needs nothing but threads.
include_guard(GLOBAL)
include(FetchContent)

# weir_fetch(<name> <url> <sha256>): builds a dependency from its release, with its own extras off and our strictness
# not applied to it.
function(weir_fetch name url sha256)
  message(STATUS "${name}: no installed package, taking ${url}")
  set(CMAKE_COMPILE_WARNING_AS_ERROR OFF)
  set(INSTALL_GTEST OFF)
  set(BUILD_GMOCK OFF)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  set(BENCHMARK_ENABLE_WERROR OFF)
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)  # their option() keeps the values above
  FetchContent_Declare(${name} URL ${url} URL_HASH SHA256=${sha256} DOWNLOAD_EXTRACT_TIMESTAMP OFF)
  FetchContent_MakeAvailable(${name})
endfunction()

# GTest::gtest_main
macro(weir_need_googletest)
  find_package(GTest 1.12 QUIET)
  if(NOT GTest_FOUND)
    weir_fetch(googletest https://github.com/google/googletest/archive/refs/tags/v1.14.0.tar.gz
      8ad598c73ad796e0d8280b082cebd82a630d73e73cd3c70057938a6501bba5d7)
  endif()
endmacro()

# benchmark::benchmark
macro(weir_need_benchmark)
  find_package(benchmark 1.7 QUIET)
  if(NOT benchmark_FOUND)
    weir_fetch(benchmark https://github.com/google/benchmark/archive/refs/tags/v1.8.3.tar.gz
      6bc180a57d23d4d9515519f92b0c83d61b05b5bab188961f36ac7b06b0d9e9ce)
  endif()
endmacro()

# nlohmann_json::nlohmann_json
macro(weir_need_json)
  find_package(nlohmann_json 3.9 QUIET)
  if(NOT nlohmann_json_FOUND)
    set(JSON_BuildTests OFF)
    set(JSON_Install OFF)
    set(JSON_SystemInclude ON)  # our warnings are not for it
    weir_fetch(nlohmann_json https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
      d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
  endif()
endmacro()
