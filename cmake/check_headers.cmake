# weir (BSL-1.0). Every header compiles by itself, and all of them together in either order, without a warning.
# Usage: cmake -D ROOT=<source folder> -D COMPILER=<path> -D FLAGS=<list> -D SCRATCH=<folder> [-D PUBLIC=ON]
#              -P cmake/check_headers.cmake
# PUBLIC: by themselves only those that users include, not those in detail/.
cmake_minimum_required(VERSION 3.24)
file(GLOB_RECURSE headers RELATIVE ${ROOT}/include ${ROOT}/include/weir/*.hpp)
if(NOT headers)
  message(FATAL_ERROR "no headers in ${ROOT}/include")
endif()

set(broken "")
function(compiles what headers)
  list(TRANSFORM headers REPLACE "(.+)" "#include <\\1>\n" OUTPUT_VARIABLE text)
  list(JOIN text "" text)
  file(WRITE ${SCRATCH}/probe.cpp "${text}")
  execute_process(COMMAND ${COMPILER} ${FLAGS} -I${ROOT}/include -fsyntax-only ${SCRATCH}/probe.cpp
    RESULT_VARIABLE status ERROR_VARIABLE errors OUTPUT_VARIABLE errors)
  if(NOT status EQUAL 0)
    message("${what}:\n${errors}")
    set(broken ${broken} ${what} PARENT_SCOPE)
  endif()
endfunction()

# A bridge to a library that is not there cannot be judged.
file(WRITE ${SCRATCH}/probe.cpp "#include <fmt/format.h>\n")
execute_process(COMMAND ${COMPILER} ${FLAGS} -fsyntax-only ${SCRATCH}/probe.cpp RESULT_VARIABLE no_fmt OUTPUT_QUIET ERROR_QUIET)
if(NOT no_fmt EQUAL 0)
  message(STATUS "without weir/with/fmt.hpp: there is no <fmt/format.h>")
  list(REMOVE_ITEM headers weir/with/fmt.hpp)
endif()

set(alone ${headers})
if(PUBLIC)
  list(FILTER alone EXCLUDE REGEX "/detail/")
endif()
foreach(header IN LISTS alone)
  compiles(${header} ${header})
endforeach()
compiles("all, sorted" "${headers}")
list(REVERSE headers)
compiles("all, the other way round" "${headers}")

if(broken)
  list(JOIN broken "\n  " broken)
  message(FATAL_ERROR "headers that do not compile cleanly:\n  ${broken}")
endif()
list(LENGTH alone by_itself)
list(LENGTH headers together)
message(STATUS "${by_itself} headers alone, ${together} together: no warning")
