# weir (BSL-1.0). Runs RUNNER on FILE, which it must not pass: CASE says what it has to print. Its status must be 1.
cmake_minimum_required(VERSION 3.24)

set(wrong_ones_fail
  "FAILED unknown-component: unknown component lottery"
  "FAILED unknown-operation: step 2 .explode at 1.5 ms.: unknown operation explode"
  "FAILED unknown-option: config: unknown colour"
  "FAILED unknown-inner-option: config, half_open: unknown patience_ms"
  "FAILED unknown-choice: config: unknown mode \"sometimes\""
  "FAILED unknown-argument: step 1 .*: args: unknown priority"
  "FAILED missing-argument: step 1 .*: args has no key"
  "FAILED unknown-expectation: step 1 .*: unknown expectation luck"
  "FAILED unknown-step-member: step 1: unknown expects"
  "FAILED unknown-member: scenario: unknown when"
  "FAILED wrong-type: step 1 .*: args: n cannot be \"many\""
  "FAILED unknown-permit: step 1 .*: there is no permit p"
  "FAILED wrong-boolean: step 2 .*: time 2: expected {\"allowed\":true}, got {\"allowed\":false}"
  "FAILED wrong-text: step 1 .*: expected {\"state\":\"open\"}, got {\"state\":\"closed\"}"
  "FAILED wrong-number: step 1 .*: expected {\"tokens\":4}, got {\"tokens\":5}"
  "FAILED wrong-by-a-ns: step 2 .*: expected {\"retry_after_ms\":100.000001}, got {\"retry_after_ms\":100.0}"
  "FAILED wrong-bound: step 1 .*: expected {\"admitted_max\":9}, got {.*}"
  "FAILED wrong-list: step 2 .*: expected {\"keys\":.\"b\".}, got {\"keys\":.\"a\".}"
  "FAILED invalid-config: step 1 .*invalid_config.*weir::token_bucket: burst must be"
  "FAILED valid-config: step 1 .*: expected {\"error\":\"invalid_config\"}, got {\"error\":null}"
  "FAILED wrong-at-once: concurrently: step 1 .*: by 8 threads: expected .* in any order, got "
  "\n2 passed, 21 failed\n$")
set(a_file_that_is_not_there_fails "FAILED .*no_such_file.json: cannot be read" "\n0 passed, 1 failed\n$")
set(a_file_of_something_else_fails "FAILED .*LICENSE: .*parse error" "\n0 passed, 1 failed\n$")

execute_process(COMMAND ${RUNNER} --scenarios ${FILE} OUTPUT_VARIABLE out ERROR_VARIABLE err RESULT_VARIABLE status)
message("${out}${err}")
if(NOT status EQUAL 1)
  message(FATAL_ERROR "status ${status}, not 1")
endif()
foreach(line IN LISTS ${CASE})
  if(NOT out MATCHES "${line}")
    message(FATAL_ERROR "does not say: ${line}")
  endif()
endforeach()
