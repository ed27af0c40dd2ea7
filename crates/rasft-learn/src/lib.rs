//! rasft-learn
