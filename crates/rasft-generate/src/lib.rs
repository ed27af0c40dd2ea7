//! rasft-generate
