#include "../main.cpp"

// The library was compiled for the flags of this program.
static_assert(RELPOS_LINKS_KERNELS);
