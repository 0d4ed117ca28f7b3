# weir (BSL-1.0). Builds and runs main.cpp under the compiler's thread sanitizer, without a suppression file: it must find nothing.
# With Boost's stack as it is, it must find races.
# Usage: cmake -D COMPILER=<path> -D SOURCE=<file> -D INCLUDE=<folder> -D SCRATCH=<folder> -P run.cmake
cmake_minimum_required(VERSION 3.24)
set(ENV{TSAN_OPTIONS} "exitcode=66")
file(MAKE_DIRECTORY ${SCRATCH})
foreach(variant IN ITEMS ours raw)
  set(define "")
  if(variant STREQUAL raw)
    set(define -DWEIR_TEST_RAW)
  endif()
  execute_process(COMMAND ${COMPILER} -std=c++20 -O1 -g -fsanitize=thread ${define} -I${INCLUDE} ${SOURCE} -pthread
    -o ${SCRATCH}/${variant} COMMAND_ERROR_IS_FATAL ANY)
  # What a sanitizer sees hangs on how the threads happen to meet: on a busy machine it may take several runs.
  foreach(attempt RANGE 1 10)
    execute_process(COMMAND ${SCRATCH}/${variant} RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
    if(NOT status EQUAL 0 OR variant STREQUAL ours)
      break()
    endif()
  endforeach()
  if(variant STREQUAL ours AND NOT status EQUAL 0)
    message(FATAL_ERROR "a user's thread sanitizer finds fault (${status}):\n${said}")
  elseif(variant STREQUAL raw AND NOT status EQUAL 66)
    message(FATAL_ERROR "the sanitizer found nothing in Boost's own stack (${status}): it does not look\n${said}")
  endif()
endforeach()
