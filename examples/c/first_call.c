/* ALiBi and a causal mask from a C program. */

#include <relpos_c.h>

#include <stdio.h>
#include <stdlib.h>

int main(void) {
  enum { heads = 8, length = 512, head_dim = 64, count = heads * length * head_dim };
  static float numbers[4][count];
  for (int i = 0; i < 3 * count; ++i) numbers[i / count][i % count] = (float)rand() / (float)RAND_MAX;
  float slopes[heads];
  relpos_alibi_slopes(slopes, heads);

  //! [call]
  relpos_call call = relpos_new_call(RELPOS_FLOAT32);
  call.q = relpos_dense(numbers[0], 1, heads, length, head_dim);
  call.k = relpos_dense(numbers[1], 1, heads, length, head_dim);
  call.v = relpos_dense(numbers[2], 1, heads, length, head_dim);
  call.out = relpos_dense(numbers[3], 1, heads, length, head_dim);
  call.bias.kind = RELPOS_ALIBI;
  call.bias.values = slopes;
  call.mask.kind = RELPOS_CAUSAL;

  const size_t bytes = relpos_workspace_bytes(&call, 1);
  void* const workspace = malloc(bytes);
  const relpos_status done = relpos_attention(&call, workspace, bytes, NULL);
  free(workspace);
  //! [call]
  if (done.code != RELPOS_OK) fprintf(stderr, "%s\n", done.message);
  return done.code;
}
