# The flags of the instruction sets: relpos_flags_<set>.

set(relpos_flags_baseline "")
set(relpos_flags_generic "")
set(relpos_flags_neon "")
set(relpos_flags_avx2 -mavx2 -mfma -mf16c)
set(relpos_flags_avx512 ${relpos_flags_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd)
set(relpos_flags_avx512_bf16 ${relpos_flags_avx512} -mavx512bf16 -mavx512vbmi)
set(relpos_flags_amx ${relpos_flags_avx512_bf16} -mamx-tile -mamx-bf16)
