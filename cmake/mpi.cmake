# relpos::mpi, for programs whose sequences are spread over machines. Its headers need an MPI. This project looks for one
# with RELPOS_MPI; a user finds the one that the program uses, or asks find_package(relpos) for the component mpi.

option(RELPOS_MPI "Build what needs MPI: tests and examples" OFF)

add_library(relpos_mpi INTERFACE)
add_library(relpos::mpi ALIAS relpos_mpi)
set_target_properties(relpos_mpi PROPERTIES EXPORT_NAME mpi VERIFY_INTERFACE_HEADER_SETS ${RELPOS_MPI})
target_sources(relpos_mpi INTERFACE FILE_SET HEADERS BASE_DIRS include FILES ${relpos_mpi_headers})
# By name, because the name of a target would have to be in an export set with relpos, where it is the caller's own.
target_link_libraries(relpos_mpi INTERFACE relpos_core $<$<TARGET_EXISTS:MPI::MPI_CXX>:MPI::MPI_CXX>)
# MPI's former interface for C++, which some of its headers still have.
target_compile_definitions(relpos_mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)

if(RELPOS_MPI)
  find_package(MPI REQUIRED COMPONENTS CXX)
endif()

# Open MPI refuses root, and more ranks than cores. Ranks that wait leave the core to others. Containers may forbid a
# process to read another's memory.
set(relpos_mpi_environment OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none)

# relpos_add_mpi_test(name ranks program)
function(relpos_add_mpi_test name ranks program)
  add_test(NAME ${name}
    COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} ${MPIEXEC_PREFLAGS}
      $<TARGET_FILE:${program}> ${MPIEXEC_POSTFLAGS})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 RUN_SERIAL ON ENVIRONMENT "${relpos_mpi_environment}")
endfunction()
