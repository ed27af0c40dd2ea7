//! rasft-verify
