# weir (BSL-1.0). One consumer, from nothing to a running program. KIND: install, add_subdirectory, find_package, pkg_config.
cmake_minimum_required(VERSION 3.24)
set(prefix ${SCRATCH}/prefix)
set(build ${SCRATCH}/${KIND})

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

if(KIND STREQUAL install)
  file(REMOVE_RECURSE ${prefix} ${SCRATCH}/first)
  run(${CMAKE_COMMAND} --install ${WEIR_BUILD} --config "${CONFIG}" --prefix ${SCRATCH}/first)
  # The packages must not remember where they were installed.
  file(RENAME ${SCRATCH}/first ${prefix})
  file(GLOB_RECURSE ours RELATIVE ${WEIR}/include ${WEIR}/include/*)
  file(GLOB_RECURSE theirs RELATIVE ${prefix}/include ${prefix}/include/*)
  if(NOT ours STREQUAL theirs)
    message(FATAL_ERROR "the source has the headers ${ours}, the installation ${theirs}")
  endif()
  return()
endif()

file(REMOVE_RECURSE ${build})
if(KIND STREQUAL pkg_config)
  file(MAKE_DIRECTORY ${build})
  set(ENV{PKG_CONFIG_PATH} ${prefix}/share/pkgconfig)
  run($ENV{PKG_CONFIG} --exact-version=${VERSION} weir)
  execute_process(COMMAND $ENV{PKG_CONFIG} --cflags --libs weir OUTPUT_VARIABLE flags
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${CXX} -std=c++20 ${SOURCE}/main.cpp ${flags} -o ${build}/consumer)
else()
  run(${CMAKE_COMMAND} -S ${SOURCE}/${KIND} -B ${build} -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${CXX}
    -D CMAKE_PREFIX_PATH=${prefix} -D WEIR=${WEIR})
  run(${CMAKE_COMMAND} --build ${build})
endif()
run(${build}/consumer ${VERSION})
