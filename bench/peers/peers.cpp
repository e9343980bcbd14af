#include <Eigen/Core>

#include "eigen_blocked.hpp"
#include "eigen_matrix.hpp"
#include "onednn.hpp"
#include "openblas_blocked.hpp"
#include "peer.hpp"

namespace relpos::bench {

// CMake compiles a peer's own file, or defines a macro that says why not.
#ifdef RELPOS_WITHOUT_OPENBLAS
peer openblas_blocked() { return {"openblas_blocked", "OpenBLAS", RELPOS_WITHOUT_OPENBLAS, {}}; }
#endif
#ifdef RELPOS_WITHOUT_ONEDNN
peer onednn() { return {"onednn", "oneDNN", RELPOS_WITHOUT_ONEDNN, {}}; }
#endif

std::vector<peer> peers() {
  Eigen::setNbThreads(1);
  return {eigen_matrix(), eigen_blocked(), openblas_blocked(), onednn()};
}

}  // namespace relpos::bench
