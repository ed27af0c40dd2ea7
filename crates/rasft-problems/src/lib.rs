//! rasft-problems
