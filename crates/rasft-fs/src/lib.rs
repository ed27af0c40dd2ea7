//! rasft-fs
