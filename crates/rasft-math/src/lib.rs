//! rasft-math
