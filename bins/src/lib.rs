//! The stage binaries. Each parses its command line, resolves it, runs one library function and prints; everything else
//! is in the crates below.
