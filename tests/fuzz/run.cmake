# weir (BSL-1.0). Fuzzes for some seconds, from the kept corpus, in a folder of its own that is new each time. Usage:
#   cmake -D FUZZER=<program> -D CORPUS=<folder> -D SCRATCH=<folder> -P run.cmake
cmake_minimum_required(VERSION 3.24)
file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH}/new)
execute_process(
  COMMAND ${FUZZER} -runs=20000 -seed=1 -max_len=64 -timeout=20 -verbosity=0 -artifact_prefix=${SCRATCH}/ ${SCRATCH}/new ${CORPUS}
  RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "it found something (${status}): put the file that it wrote into ${CORPUS}, and mend the code")
endif()
