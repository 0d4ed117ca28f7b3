# weir (BSL-1.0). Fails if FORGOTTEN, the test files that no program is built from, names any.
if(FORGOTTEN)
  list(JOIN FORGOTTEN "\n  " text)
  message(FATAL_ERROR "in no program of tests/CMakeLists.txt:\n  ${text}")
endif()
