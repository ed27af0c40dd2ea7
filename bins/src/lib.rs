//! rasft
