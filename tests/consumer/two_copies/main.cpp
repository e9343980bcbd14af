#include <relpos/policies.hpp>

float first_slope();  // of another part of the program

int main() { return first_slope() == relpos::alibi_slopes(8).front() ? 0 : 1; }
