//! rasft-stages
