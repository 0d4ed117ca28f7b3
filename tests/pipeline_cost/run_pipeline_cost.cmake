# weir (BSL-1.0). Compiles SOURCE with COMPILER and counts the instructions of each plain_x and layered_x: they must be as many.
execute_process(COMMAND ${COMPILER} -std=c++20 -O2 -I${INCLUDE} -S -o - ${SOURCE}
  RESULT_VARIABLE status OUTPUT_VARIABLE assembly ERROR_VARIABLE errors)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} does not compile:\n${errors}")
endif()

# The lines between the label of a function and the directive that ends it, which begin with a mnemonic.
function(count_instructions name out)
  if(NOT assembly MATCHES "\n${name}:([^\n]*\n(.*))$")
    message(FATAL_ERROR "no function ${name} in what ${COMPILER} made of ${SOURCE}")
  endif()
  string(REGEX REPLACE "\n[ \t]*\\.size[ \t]+${name},.*$" "\n" body "\n${CMAKE_MATCH_2}")
  string(REPLACE ";" "," body "${body}")
  string(REGEX MATCHALL "\n[ \t]+[a-z][^\n]*" instructions "${body}")
  list(LENGTH instructions count)
  set(${out} ${count} PARENT_SCOPE)
endfunction()

foreach(what IN ITEMS value nothing)
  count_instructions(plain_${what} plain)
  count_instructions(layered_${what} layered)
  message("${what}: ${plain} instructions, ${layered} through a pipeline without layers")
  if(plain EQUAL 0 OR NOT plain EQUAL layered)
    message(FATAL_ERROR "a pipeline without layers is not free")
  endif()
endforeach()
