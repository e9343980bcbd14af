# A header's opening comment documents the file, so that pages of names can copy it.
1{N;s,^#pragma once\n//,/// @file\n///,}
\,^/// @file,,/^$/s,^//\([^/]\|$\),///\1,
# Doxygen 1.9.4 does not know inline namespaces of this form.
s/relpos::inline RELPOS_ABI/relpos/
# An indented line of a comment is preformatted: Markdown asks for four spaces.
s,^\( *///\)   ,\1       ,
# Examples lose the indentation of their first line, the marker.
\,^ *//! \[,{h;x;s/[^ ].*//;x;}
\,^ *//! \[,,\,^ *//! \[,{G;s/^\( *\)\(.*\)\n\1$/\2/;s/\n *$//;}
# Links from guides to files that are no pages lead to the source; pages have no anchors of GitHub.
s,](\(\.\./\)\?\(\(bench\|examples\|findings\|include\|tests\)/[^)]*\)),](../../../\2),g
s,](\(../../../[^)]*/\)README\.md),](\1),g
s,\.md#[a-z0-9-]*),.md),g
