# weir (BSL-1.0). Runs PROGRAM with ARGUMENTS, shows what it prints, and wants both a zero status and a match of PASS.
execute_process(COMMAND ${PROGRAM} ${ARGUMENTS} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE errors)
message("${output}${errors}")
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${status}")
elseif(NOT output MATCHES "${PASS}")
  message(FATAL_ERROR "no output of ${PROGRAM} matches ${PASS}")
endif()
