#pragma once
// Every allocation of the program is counted.

/// How many there were so far.
long allocations();

/// Whether malloc itself is counted, or operator new alone: a sanitizer has its own malloc.
bool counts_malloc();
