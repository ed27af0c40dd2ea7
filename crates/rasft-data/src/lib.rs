//! rasft-data
