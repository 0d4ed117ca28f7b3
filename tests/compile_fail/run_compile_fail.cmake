# weir (BSL-1.0). One wrong use: SOURCE does not compile with COMPILER and WEIR_MUST_FAIL, and the message begins with WORD.
# RIGHT_USE: without WEIR_MUST_FAIL it does compile.
cmake_minimum_required(VERSION 3.24)

set(command ${COMPILER} -std=c++20 -fsyntax-only -Werror=unused-result -I${INCLUDE} ${SOURCE})
if(RIGHT_USE)
  execute_process(COMMAND ${command} RESULT_VARIABLE status ERROR_VARIABLE message OUTPUT_VARIABLE message)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the right use does not compile:\n${message}")
  endif()
endif()

execute_process(COMMAND ${command} -DWEIR_MUST_FAIL RESULT_VARIABLE status ERROR_VARIABLE message OUTPUT_VARIABLE message)
if(status EQUAL 0)
  message(FATAL_ERROR "the wrong use compiles")
endif()
if(NOT message MATCHES "error:")
  message(FATAL_ERROR "the compiler failed, but not with an error in the source:\n${message}")
endif()
string(REPLACE "${SOURCE}" "source" message "${message}")  # its name contains the word, too
string(REGEX MATCH "^([^\n]*\n)([^\n]*\n)?([^\n]*\n)?([^\n]*\n)?([^\n]*\n)?" beginning "${message}")
if(NOT beginning MATCHES "(^|[^a-zA-Z0-9_])${WORD}([^a-zA-Z0-9_]|$)")
  message(FATAL_ERROR "${WORD} is not in the first five lines of:\n${message}")
endif()
