//! rasft-method
