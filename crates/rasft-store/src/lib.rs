//! rasft-store
