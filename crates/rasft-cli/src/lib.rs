//! rasft-cli
