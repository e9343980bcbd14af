/** @file
 * relpos for programs in C, in C++17 and in other languages: attention with encodings, masks, sinks and caches over
 * tensors that the caller owns. docs/c.md says how to build and link it.
 *
 * @snippet first_call.c call
 *
 * Zero is the default of every member. Members that hold an enumeration are int, of the same size everywhere. Structs
 * that begin with `struct_size` may grow: the functions relpos_new_... set it, a library reads no member beyond it, and
 * refuses members that it does not know and that are not zero.
 *
 * Functions may be called from several threads. None throws, keeps a pointer, or writes anything when it refuses.
 */
#ifndef RELPOS_C_H
#define RELPOS_C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "relpos/version.hpp" /* RELPOS_VERSION, of this header */

#ifdef __cplusplus
extern "C" {
#endif

#if defined(RELPOS_C_SHARED) && defined(__GNUC__)
#define RELPOS_C_API __attribute__((visibility("default")))
#else
#define RELPOS_C_API
#endif

/** @addtogroup c
 * @{ */

/** The kind of a failure. */
typedef enum relpos_code {
  RELPOS_OK = 0,                  /**< success */
  RELPOS_INVALID_SHAPE = 1,       /**< a shape or a number of elements that does not fit */
  RELPOS_INVALID_STRIDE = 2,      /**< strides that this argument cannot have */
  RELPOS_NULL_DATA = 3,           /**< elements without memory */
  RELPOS_OVERLAP = 4,             /**< an output or the workspace that shares memory with another argument */
  RELPOS_WORKSPACE_TOO_SMALL = 5, /**< fewer bytes than relpos_workspace_bytes says */
  RELPOS_INVALID_VALUE = 6,       /**< a number out of its range, or members that contradict each other */
  RELPOS_DEVICE_FAILURE = 7,      /**< a part of the processor that the system withholds */
  RELPOS_OUT_OF_MEMORY = 8        /**< only of functions that allocate */
} relpos_code;

/** The outcome of a function. `message` names the argument and both shapes; it is empty after success. */
typedef struct relpos_status {
  relpos_code code;  /**< RELPOS_OK after success */
  char message[320]; /**< one sentence, ended by a zero */
} relpos_status;

/** The type of the elements of a tensor or a cache. */
typedef enum relpos_type {
  RELPOS_FLOAT32 = 0,     /**< float */
  RELPOS_FLOAT16 = 1,     /**< IEEE 754 binary16 */
  RELPOS_BFLOAT16 = 2,    /**< the upper half of a float */
  RELPOS_INT8 = 3,        /**< caches alone, with a scale for each row */
  RELPOS_FLOAT8_E4M3 = 4  /**< the same */
} relpos_type;

/** A tensor [batch, head, position, channel]. Strides count elements; they may be 0 (broadcast) or negative. */
typedef struct relpos_tensor {
  void* data;         /**< the first element */
  int64_t shape[4];   /**< the extents of the axes */
  int64_t strides[4]; /**< in elements */
} relpos_tensor;

/** A contiguous tensor. */
static inline relpos_tensor relpos_dense(void* data, int64_t batch, int64_t heads, int64_t length, int64_t channels) {
  relpos_tensor result = {data, {batch, heads, length, channels}, {0, 0, 0, 1}};
  result.strides[2] = channels;
  result.strides[1] = length * channels;
  result.strides[0] = heads * length * channels;
  return result;
}

/** The mask of a call. */
typedef enum relpos_mask_kind {
  RELPOS_FULL = 0,             /**< every query sees every key */
  RELPOS_CAUSAL = 1,           /**< no query sees a key after it */
  RELPOS_SLIDING_WINDOW = 2,   /**< `size` keys, the query's own included */
  RELPOS_BAND = 3,             /**< `size` keys before the query and `after` behind it */
  RELPOS_BLOCKWISE_CAUSAL = 4, /**< the query's block of `size` positions and the one before it, causal */
  RELPOS_CHUNKED_CAUSAL = 5    /**< the query's own chunk of `size` positions, causal */
} relpos_mask_kind;

/** A mask and its sizes, in positions. */
typedef struct relpos_mask {
  int kind; /**< relpos_mask_kind */
  int64_t size;  /**< of windows, blocks and chunks, at least 1; of a band, at least 0 */
  int64_t after; /**< of a band, at least 0 */
} relpos_mask;

/** The encoding of positions that is added to scores. */
typedef enum relpos_bias_kind {
  RELPOS_NO_BIAS = 0,  /**< none */
  RELPOS_ALIBI = 1,    /**< values: slopes [heads], as relpos_alibi_slopes gives them */
  RELPOS_T5 = 2,       /**< values: table [num_buckets, heads]; the default of `scale` is then 1 */
  RELPOS_FUNCTION = 3, /**< `function`, asked once for each head and distance */
  RELPOS_MATRIX = 4    /**< `matrix` of float32, [batch, heads, query, key], or 1 where broadcast; not with a cache */
} relpos_bias_kind;

/** The bias that is added to scaled scores. distance is the key's position minus the query's. */
typedef struct relpos_bias {
  int kind; /**< relpos_bias_kind */
  const float* values;   /**< ALiBi: slopes [heads]; T5: table [num_buckets, heads] */
  int64_t num_buckets;   /**< T5: 32 if 0 */
  int64_t max_distance;  /**< T5: 128 if 0 */
  int bidirectional;     /**< T5: whether keys behind the query have buckets of their own, as in encoders */
  double (*function)(void* context, int64_t head, int64_t distance); /**< RELPOS_FUNCTION: may run on all threads */
  void* context;         /**< the first argument of `function` */
  relpos_tensor matrix;  /**< RELPOS_MATRIX: float32, [batch, heads, query, key], or 1 where broadcast */
} relpos_bias;

/** RoPE or XPOS: tables of rotations. One serves any number of calls and threads. */
typedef struct relpos_rotation relpos_rotation;

/** The kind of a rotation. */
typedef enum relpos_frequencies {
  RELPOS_ROPE = 0,   /**< base^(-2i / rotary_dim) for pair i */
  RELPOS_LINEAR = 1, /**< positions divided by `factor` */
  RELPOS_NTK = 2,    /**< a base that grows with `factor` */
  RELPOS_YARN = 3,   /**< `factor`, `train_length` */
  RELPOS_LLAMA3 = 4, /**< `factor`, `train_length`; the ramp is from 1 to 4 turns */
  RELPOS_XPOS = 5    /**< RoPE with a decay, for causal attention */
} relpos_frequencies;

/** The options of relpos_make_rotation. */
typedef struct relpos_rotation_options {
  size_t struct_size;   /**< set by relpos_new_rotation_options */
  int frequencies;      /**< relpos_frequencies */
  int64_t rotary_dim;   /**< channels that are rotated: even, at least 2 (NTK: 4), at most head_dim */
  int interleaved;      /**< pairs are (0, 1), (2, 3), ... instead of halves, (0, n), (1, n + 1), ... */
  double base;          /**< 10000 if 0, 500000 with RELPOS_LLAMA3 */
  double factor;        /**< 1 if 0 */
  int64_t train_length; /**< YaRN and Llama 3: positions */
} relpos_rotation_options;

/** Options with all members zero. */
static inline relpos_rotation_options relpos_new_rotation_options(relpos_frequencies frequencies, int64_t rotary_dim) {
  relpos_rotation_options result;
  memset(&result, 0, sizeof result);
  result.struct_size = sizeof result;
  result.frequencies = frequencies;
  result.rotary_dim = rotary_dim;
  return result;
}

/** Makes a rotation, which relpos_free_rotation frees. Allocates. */
RELPOS_C_API relpos_status relpos_make_rotation(const relpos_rotation_options* options, relpos_rotation** rotation);
/** Frees a rotation; NULL does nothing. */
RELPOS_C_API void relpos_free_rotation(relpos_rotation* rotation);

/** Where the rows of a cache are. */
typedef enum relpos_placement {
  RELPOS_CONTIGUOUS = 0, /**< keys [sequence, key head, capacity, channel] */
  RELPOS_RING = 1,       /**< the same; the newest rows overwrite the oldest behind the first `sinks` */
  RELPOS_PAGED = 2       /**< keys [page, key head, row of the page, channel], pages by `block_table` */
} relpos_placement;

/** A cache of keys and values in memory of the caller, who sets lengths (and `oldest`) to 0 at first. */
typedef struct relpos_cache {
  size_t struct_size;          /**< set by relpos_new_cache */
  int type;                    /**< relpos_type */
  int placement;               /**< relpos_placement */
  relpos_tensor keys,          /**< as the placement says; channels are contiguous */
      values;                  /**< the same, of value_dim channels */
  float* key_scales;           /**< int8 and float8: contiguous, one for each row, [slab, key head, row] */
  float* value_scales;         /**< the same for values */
  int64_t* lengths;            /**< [sequences] */
  int64_t sequences;           /**< the number of sequences */
  int64_t* oldest;             /**< ring: [sequences] */
  int64_t sinks;               /**< ring */
  int64_t window;              /**< ring: the keys behind the sinks that a query sees; 0: all that are there */
  int32_t* block_table;        /**< pages: contiguous, [sequences, blocks] */
  int64_t blocks;              /**< pages: columns of `block_table` */
} relpos_cache;

/** A cache with all other members zero. */
static inline relpos_cache relpos_new_cache(relpos_type type, relpos_placement placement) {
  relpos_cache result;
  memset(&result, 0, sizeof result);
  result.struct_size = sizeof result;
  result.type = type;
  result.placement = placement;
  return result;
}

/** A call of attention: out [batch, heads, query, d_v] of q [batch, heads, query, d] over k [batch, key heads, key, d]
 * and v [batch, key heads, key, d_v], or over a cache. heads is a multiple of key heads. */
typedef struct relpos_call {
  size_t struct_size; /**< set by relpos_new_call */
  int type;  /**< relpos_type of q, k, v and out: float32, float16 or bfloat16; with a cache float32 */
  relpos_tensor q, /**< [batch, heads, query, d] */
      k,           /**< [batch, key heads, key, d] */
      v,           /**< [batch, key heads, key, d_v] */
      out;         /**< [batch, heads, query, d_v] */
  const relpos_cache* cache;  /**< instead of k and v */

  relpos_mask mask;                /**< the keys that a query sees */
  relpos_bias bias;                /**< what is added to scores */
  const relpos_rotation* rotation; /**< of q and k; NULL: none */
  const float* sink_logits;   /**< [heads]; each joins the denominator of its head, without a value */
  float scale;                /**< the factor of q.k; 0: 1 / sqrt(d), with RELPOS_T5 1 */
  float softcap;              /**< s = softcap tanh(s / softcap) before the bias; 0: none */
  float temperature;          /**< divides scores and bias; 0: 1 */
  const float* temperatures;  /**< [heads], instead of `temperature` */

  int has_query_offset;       /**< 0: the queries are the last rows of the keys */
  int64_t query_offset;       /**< the position of the first query */
  int64_t key_offset;         /**< the position of the first key */
  const int64_t* query_offsets;  /**< [sequences], instead of query_offset */
  const int64_t* key_offsets;    /**< [sequences] */
  /** Batches without padding: the rows of sequence i are [starts[i], starts[i + 1]) of one batch entry. */
  int64_t sequences;
  const int64_t* query_starts;  /**< [sequences + 1] */
  const int64_t* key_starts;    /**< [sequences + 1] */

  /* Outputs for each row, contiguous [batch, heads, query], or NULL. */
  float* lse;  /**< natural logarithm of the sum of exponentials */
  float* max_probability; /**< the largest probability */
  float* entropy;  /**< in nats */
} relpos_call;

/** A call with all other members zero. */
static inline relpos_call relpos_new_call(relpos_type type) {
  relpos_call result;
  memset(&result, 0, sizeof result);
  result.struct_size = sizeof result;
  result.type = type;
  return result;
}

/** One of several threads that make the same call with the same workspace. barrier(context) returns when all of them
 * have called it. NULL in place of a team: the calling thread alone. */
typedef struct relpos_team {
  int64_t thread;                 /**< from 0 to threads - 1 */
  int64_t threads;                /**< of the team */
  void (*barrier)(void* context); /**< waits for all threads */
  void* context;                  /**< its argument */
} relpos_team;

/** The bytes of workspace that relpos_attention needs for a team of so many threads; 0 for a call that it refuses. */
RELPOS_C_API size_t relpos_workspace_bytes(const relpos_call* call, int64_t threads);

/** Computes attention. `workspace` has any alignment, and nothing of the call overlaps it or `out`. */
RELPOS_C_API relpos_status relpos_attention(const relpos_call* call, void* workspace, size_t bytes,
                                            const relpos_team* team);

/** Appends rows of float32, k [sequences, key heads, new row, d] and v, to every sequence of a cache. `rotation`, the
 * same as in calls over the cache, rotates the keys by their positions, row + key_offset; NULL: none. */
RELPOS_C_API relpos_status relpos_append(const relpos_cache* cache, const relpos_tensor* k, const relpos_tensor* v,
                                         const relpos_rotation* rotation, int64_t key_offset);

/** Keeps the first `length` rows of one sequence. */
RELPOS_C_API relpos_status relpos_truncate(const relpos_cache* cache, int64_t sequence, int64_t length);

/** Writes ALiBi's slopes [heads] (Press et al., arXiv 2108.12409). */
RELPOS_C_API void relpos_alibi_slopes(float* slopes, int64_t heads);

/** The version of the library, as RELPOS_VERSION, which is the version of this header. */
RELPOS_C_API int relpos_version(void);
/** The instruction set that it computes with: the best that it was compiled for and the processor has. The environment
 * variable RELPOS_INSTRUCTION_SET, read once, asks for another: baseline, avx2 or avx512. */
RELPOS_C_API const char* relpos_instruction_set(void);

/** @} */

#ifdef __cplusplus
}
#endif

#endif
