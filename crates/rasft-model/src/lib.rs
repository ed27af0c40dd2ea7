//! rasft-model
