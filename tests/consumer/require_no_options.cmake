# The instruction set is the consumer's choice: relpos must not bring compile options along.
get_target_property(options relpos::relpos INTERFACE_COMPILE_OPTIONS)
if(options)
  message(FATAL_ERROR "relpos::relpos carries compile options: ${options}")
endif()
