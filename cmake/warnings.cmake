# weir (BSL-1.0). weir_warnings: what our own programs are compiled with. Users of weir::weir never see it.
# Errors are the presets' choice: they set CMAKE_COMPILE_WARNING_AS_ERROR.
set(weir_warning_flags -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow)

add_library(weir_warnings INTERFACE)
if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  target_compile_options(weir_warnings INTERFACE ${weir_warning_flags})
endif()
