# athanor_library(NAME SOURCES ... [PUBLIC libs] [PRIVATE libs])
#   One folder of src/athanor is one static library, athanor_NAME.
function(athanor_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(athanor_${name} STATIC ${arg_SOURCES})
  target_include_directories(athanor_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(athanor_${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-missing-field-initializers>)
  target_link_libraries(athanor_${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
endfunction()

# athanor_test(NAME SOURCES ... [LIBS libs])
#   One test binary per module; ctest runs it whole, as module/test cases. A test that takes more
#   than a few seconds is named Slow..., and runs under the label "slow" only.
function(athanor_test name)
  if(NOT ATHANOR_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name}_test ${arg_SOURCES})
  target_compile_options(${name}_test PRIVATE -Wall -Wextra -Wno-missing-field-initializers)
  target_link_libraries(${name}_test PRIVATE athanor_${name} ${arg_LIBS} GTest::gtest GTest::gmock
                                             GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name}_test --gtest_filter=-*Slow*)
  add_test(NAME ${name}_slow COMMAND ${name}_test --gtest_filter=*Slow*)
  set_tests_properties(${name} PROPERTIES LABELS fast)
  set_tests_properties(${name}_slow PROPERTIES LABELS slow)
endfunction()
